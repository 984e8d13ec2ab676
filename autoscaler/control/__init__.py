"""The control loop: what a pass observes, decides, writes and remembers. No client library.

`controller.Controller.run_pass` is one pass on one screen. It may import `core`, `ports` and what
is below them; the world comes in through `ports`, which `adapters` implement.
"""
