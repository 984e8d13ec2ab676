"""How a pass is told: metrics, logs, Events, the journal. Each is a `Recorder` of the controller.

`events` has the name and the text of every Event. It may import `control` and what is below.
"""
