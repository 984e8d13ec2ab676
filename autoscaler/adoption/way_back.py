"""How all of an adoption is taken out again without ending a session. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

from autoscaler.adapters.kubernetes.pods import ROUTABLE
from autoscaler.adoption import autoscaler_steps, daemon_files, daemon_steps, files
from autoscaler.adoption.plan import Adoption
from autoscaler.adoption.step import Step, delete, in_pods, kubectl, lines, replicas, sockets
from autoscaler.adoption.switch_steps import KEEPS, back
from autoscaler.doctor.autoscalers import autoscalers_of
from autoscaler.units import counted


def section(adoption: Adoption, folder: str) -> Iterator[str]:
    """Yield the lines of the last section of the page."""
    yield "## The way back"
    yield ""
    yield (
        "These steps take all of it out again, and end no session. If you remove the daemon too, "
        f"docs/uninstall.md says how. Do not run `kubectl delete -k {quote(folder)}` in place of "
        "them: it deletes the app's Services too."
    )
    yield ""
    steps = _in_place if adoption.choices.in_place else _beside
    for step in (_policy(adoption), *steps(adoption, folder), _rest(adoption, folder)):
        yield from lines(f"### {step.title}", step)


def _policy(adoption: Adoption) -> Step:
    done = "The daemon then removes what it wrote on the pods."
    title = "Take the policy from the daemon"
    if adoption.choices.helm:
        return Step(title, f"Remove it from your values, and upgrade the release. {done}")
    return Step(
        title,
        f"Remove `{daemon_files.policy_folder(adoption)}` from your overlay too, and apply that. "
        f"{done}",
        (daemon_steps.withdrawal(adoption),),
    )


def _beside(adoption: Adoption, folder: str) -> Iterator[Step]:
    old, new = adoption.app.ref.deployment, adoption.name
    yield Step(
        f"Start {old} again",
        f"{folder}/{files.PODS}/deployment.yaml is the Deployment as it was. It starts beside "
        f"{new}, with as many pods. If {new} has a newer image since, write that into it first."
        f"{_fewer(adoption)}",
        (
            f"kubectl apply -f {quote(f'{folder}/{files.PODS}/deployment.yaml')}",
            kubectl(adoption, f'scale deployment/{old} --replicas="$({replicas(adoption, new)})"'),
            kubectl(adoption, f"rollout status deployment/{old}"),
        ),
    )
    yield from _listening(adoption)
    yield from _services(adoption, f"New users come to {old}; open connections stay.")
    yield from autoscaler_steps.restoring(adoption, folder)
    yield Step(
        f"Delete {new}",
        "Each of its pods ends when its users have left, or after its "
        "`terminationGracePeriodSeconds`.",
        (delete(folder, files.PODS),),
    )


def _fewer(adoption: Adoption) -> str:
    """Return how an app that nothing scales gets its number of pods again."""
    if any(autoscalers_of(adoption.app.facts)):
        return ""
    before = adoption.app.replicas
    scale = kubectl(adoption, f"scale deployment/{adoption.app.ref.deployment}")
    return (
        f" It had {counted(before, 'pod')} when this page was written, and nothing lowers the "
        "number again. Do it when nobody is connected, because it ends the sessions of the pods "
        f"that are deleted: `{scale} --replicas={before}`."
    )


def _listening(adoption: Adoption) -> Iterator[Step]:
    """Yield how to wait for pods that are Ready before they serve, for want of a probe."""
    app = adoption.app
    if "readinessProbe" in app.container:
        return
    listening = sockets(app.port, "0A")
    yield Step(
        f"Wait until {app.ref.deployment} listens",
        "Its pods have no readiness probe, so they were Ready before the server was. This returns "
        f"when each of them listens on port {app.port}.",
        (
            in_pods(
                adoption,
                f'until cat /proc/net/tcp /proc/net/tcp6 | grep -q "{listening}"; do sleep 1; done',
            ),
        ),
    )


def _in_place(adoption: Adoption, folder: str) -> Iterator[Step]:
    name = adoption.app.ref.deployment
    place = f"{folder}/{files.PODS}/deployment.yaml"
    budget = [delete(folder, f"{files.PODS}/budget.yaml")] if adoption.budgets else []
    yield from _services(adoption, "Before the rollout, after which no pod has the label.")
    yield Step(
        "Roll out the pods as they were",
        f"{place} is the Deployment before the adoption. Each pod with the launcher ends when its "
        "users have left. If you applied the pods with --server-side, do so here.",
        (
            f"kubectl apply -f {quote(place)}",
            kubectl(adoption, f"rollout status deployment/{name}"),
            *budget,
        ),
    )
    yield from autoscaler_steps.restoring(adoption, folder)


def _services(adoption: Adoption, text: str) -> Iterator[Step]:
    if commands := back(adoption):
        yield Step(
            "Switch the Services back",
            f"{text} {KEEPS} If your ingress names the Service of the proxy, let it name the "
            "app's again after that.",
            commands,
        )


def _rest(adoption: Adoption, folder: str) -> Step:
    choices, commands = adoption.choices, [_ended(adoption)]
    text = (
        "The first command waits for that. Secrets that you created for the app, such as its key "
        f"({adoption.name}) or sidecar-token, are yours to delete, when no pod names them."
    )
    if adoption.proxies:
        commands.append(delete(folder, files.PROXY))
    if choices.sticky == "haproxy":
        commands.append(kubectl(adoption, "delete secret sticky-haproxy"))
    if choices.sticky and choices.helm:
        text += " Set `proxy.enabled` of your values to false, and upgrade the release."
    if paths := daemon_files.access_files(adoption):
        commands.append(f"{delete(folder, *paths)} --ignore-not-found")
    if part := daemon_files.scraping_folder(adoption):
        shared = delete(folder, daemon_files.scraping_rights(adoption))
        commands.append(f"{shared} --ignore-not-found")
        text += (
            f" Remove `{part}` from your overlay, and its rights by the last command, unless "
            f"Prometheus scrapes another app of {adoption.app.ref.namespace}."
        )
    return Step("Delete the rest when these pods have ended", text, tuple(commands))


def _ended(adoption: Adoption) -> str:
    """Return the command that waits until no pod has a launcher any more."""
    labels = ",".join(f"{key}={value}" for key, value in adoption.selector.items())
    return kubectl(
        adoption, f"wait --for=delete pod -l {quote(f'{labels},{ROUTABLE}')} --timeout=-1s"
    )
