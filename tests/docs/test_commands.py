"""Nothing is printed for an operator to run or to write that no test runs or reads."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.pages import FIRST_PAGE, PAGES, POLICIES_PAGE, RUNBOOK, languages, printed

ROOT = Path(__file__).parents[2]
WITH_COMMANDS = (FIRST_PAGE, POLICIES_PAGE, *PAGES)
# What runs the whole suite runs these first; see the Makefile.
SUITE = "Makefile"
ON_THE_NODE = "tests/node/test_pages.py::test_the_commands_of_the_kubernetes_page_work"
ADOPTED = "tests/deploy/test_adoption.py"
BESIDE = "tests/node/test_adoption.py::test_a_second_deployment_loses_nobody"
IN_PLACE = "tests/node/test_adoption.py::test_in_place_the_rollout_is_the_whole_price"
RECOMMENDED = "tests/deploy/test_admission.py::test_what_is_recommended_is_admitted_and_ready"
HELM_PAGE = "tests/deploy/test_helm_page.py"
BY_HELM = f"{HELM_PAGE}::test_the_commands_of_the_page_work"
BUILT = "tests/lab/images.py::our_image"  # by buildah, which takes the same arguments
WHEEL = "tests/deploy/test_images.py::test_the_printed_command_makes_the_wheel"
LAUNCHED = "tests/lab/bokeh_servers.py::bokeh_serve"
PROXIES = "tests/proxies/test_install.py"
NGINX = f"{PROXIES}::install_nginx"
HAPROXY = f"{PROXIES}::install_haproxy"
LINES = "tests/big_data/test_page.py::test_points_service_and_app_come_up_by_the_printed_lines"
BIG_DATA_ON_THE_NODE = "tests/node/test_pages.py::test_the_galaxy_and_its_service"
COMMAND_LINE = "tests/docs/test_command_line.py::test_a_command_that_is_printed_works"
SIMULATED = "tests/docs/test_command_line.py::test_what_the_page_of_the_simulation_prints_works"
TUNED = "tests/docs/test_command_line.py::test_what_the_page_prints_of_tuning_works"
HISTORY = "tests/adapters/test_prometheus_history.py::test_a_morning_is_rebuilt"
HINTED = "tests/exporter/test_hints.py"
LOADS = "tests/adapters/test_prometheus_loads.py"
JOURNALED = "tests/replay/test_page.py::test_a_command_prints_what_the_page_shows"
VERSIONS = "tests/packaging/test_wheels.py::test_it_tells_its_version_and_commit"
IMAGES = "tests/supply_chain/test_release.py::test_a_release_has_all_files"
SITE = "tests/docs/test_site.py::test_the_site_has_every_page"
FIDELITY = "tests/hpa/test_against_the_simulation.py::test_the_area_between_both_trajectories"
REMOVED = "tests/kubernetes/test_remove.py"
UNINSTALLED = f"{REMOVED}::test_the_printed_commands_uninstall_in_their_order"
WAY_BACK = "tests/deploy/test_way_back.py::test_nothing_is_left_after_the_way_back"
INIT = "tests/deploy/test_init.py::test_the_printed_steps_adopt_an_app_that_the_cluster_has"
FROM_FILES = "tests/deploy/test_init.py::test_kustomize_makes_of_the_folder_what_the_diff_shows"
DOCTOR = "tests/kubernetes/test_doctor.py::test_all_that_is_wrong_is_reported_at_once"
RESOURCES = "tests/kubernetes/test_scaling_policies.py::test_the_object_of_the_page"
PAUSES = "tests/kubernetes/test_pauses.py"
PAUSED = f"{PAUSES}::test_the_printed_commands_pause_a_deployment_and_end_the_pause"
MIGRATED = "tests/kubernetes/test_migration.py::test_the_daemon_goes_on_from_the_replicas"
KEDA = "tests/kubernetes/test_migration.py::test_a_scaled_object_of_the_api_server"
MIGRATION = "tests/docs/test_migrate_page.py"
STATUS = "tests/kubernetes/test_status.py::test_the_printed_commands_work_also_as_a_plugin"
COMPLETED = "tests/completion/test_shells.py::test_a_tab_completes"
FORWARDED = "tests/node/test_status.py::test_the_printed_commands_work_on_a_node"
LIVE_PAGE = "tests/dashboard/test_docs_page.py"
DAEMON = "tests/kubernetes/test_daemon.py"
TUTORIAL = "tests/node/test_tutorial.py::test_the_tutorial_adopts_an_app"
TUTORIALS_IMAGES = "tests/node/test_tutorial.py::test_the_images_are_built_as_their_page_says"
GITOPS = "tests/deploy/test_gitops.py"
TROUBLES = "tests/kubernetes/test_troubleshooting.py::test_the_printed_command"
STORES = "tests/adapters/test_other_stores.py"
CI = "tests/docs/test_ci_page.py::test_an_edit_passes_or_stops"
BACK = "tests/deploy/test_tutorial.py::test_new_users_are_sent_to_the_proxy"
SERVERS = "tests/exporter/test_servers_page.py"
# By the beginning of a command, the longest that fits: what runs it.
RUN_BY = {
    "make demo": "tests/demo/test_demo.py::test_the_demo_grows_shrinks_reports",
    "make test": SUITE,
    "make install": SUITE,
    "make cluster": "tests/lab/test_live_cluster.py::test_it_says_where_everything_is",
    "make -C bokeh-autoscaler cluster BARE=yes": "tests/lab/test_live_cluster.py::test_a_bare_one",
    "make docs": SITE,
    "make images": IMAGES,
    "make help": COMMAND_LINE,
    "autoscaler --version": VERSIONS,
    "bokeh-exporter --version": VERSIONS,
    "autoscaler check": COMMAND_LINE,
    "autoscaler convert": f"{MIGRATION}::test_the_page_prints_what_the_command_prints",
    "autoscaler check bokeh-app.yaml": MIGRATED,
    "autoscaler simulate --policy bokeh-app.yaml": f"{MIGRATION}::test_the_policy_is_simulated",
    "autoscaler schema": COMMAND_LINE,
    "autoscaler demo --app": "tests/demo/test_demo.py::test_the_users_own_app",
    "autoscaler seats": f"{LOADS}::test_the_command_prints_the_seats_and_what",
    "autoscaler simulate": COMMAND_LINE,
    "autoscaler simulate --policy policies/sessions.yaml --prometheus": HISTORY,
    "autoscaler tune": TUNED,
    "autoscaler decide": f"{DAEMON}::test_one_pass_and_one_decision_from_the_command_line",
    "autoscaler notify": "tests/kubernetes/test_notify.py::test_users_of_all_pods_are_told",
    "autoscaler remove": UNINSTALLED,
    "autoscaler init": INIT,
    "autoscaler init dashboards.yaml": FROM_FILES,
    "autoscaler doctor": DOCTOR,
    "autoscaler doctor https": "tests/proxies/test_doctor.py::test_what_a_proxy_breaks_is_found",
    "autoscaler replay": JOURNALED,
    "autoscaler explain": JOURNALED,
    "autoscaler status": STATUS,
    "autoscaler dashboard": f"{LIVE_PAGE}::test_the_printed_commands_are_understood",
    "autoscaler dashboard --url": "tests/kubernetes/test_dashboard.py::page",
    "kubectl autoscaler status": STATUS,
    "leader=$(kubectl": FORWARDED,
    "kubectl -n bokeh-autoscaler port-forward": FORWARDED,
    "source <(autoscaler completion": COMPLETED,
    'eval "$(autoscaler completion': COMPLETED,
    "autoscaler completion fish": COMPLETED,
    "autoscaler run": f"{DAEMON}::test_it_scales_up_and_down_with_the_sessions",
    "bokeh-exporter launch": LAUNCHED,
    "bokeh-exporter launch -- uvicorn main:app": f"{SERVERS}::test_users_of_the_fastapi_app",
    "bokeh-exporter launch -- gunicorn main:app": f"{SERVERS}::test_users_of_the_fastapi_app",
    "bokeh-exporter launch -- uvicorn mysite": "tests/exporter/test_carriers.py::test_users_are",
    "bokeh-exporter launch -- bokeh serve app.py --prefix": f"{SERVERS}::test_a_service_of_the_hub",
    "bokeh serve": LAUNCHED,
    "bokeh-exporter launch --metrics-port": "tests/exporter/test_without_sidecar.py::test_",
    "bokeh-exporter sidecar": LAUNCHED,
    "panel serve": "tests/exporter/test_without_sidecar.py::test_",
    "pip install": "tests/docs/test_install.py::test_each_install_has_what_it_is_for",
    "pip install --require-hashes": BUILT,  # its Dockerfile says the same
    "pip wheel": WHEEL,
    "pip download": "tests/lab/images.py::wheels",
    "docker build": BUILT,
    "docker build -t registry.example.com/dashboards:1": TUTORIAL,
    "docker build -f deploy/images/daemon.Dockerfile -t registry": TUTORIALS_IMAGES,
    "docker build -f deploy/images/exporter.Dockerfile -t registry": TUTORIALS_IMAGES,
    "docker push": "tests/lab/images.py::_build",  # buildah pushes into an archive
    "cd": "tests/node/test_tutorial.py::folder",  # which has the checkout under that name
    "buildah push": "tests/lab/images.py::_build",
    "docker save": "tests/lab/images.py::_build",  # buildah writes the same kind of archive
    "autoscaler users": "tests/proxies/test_stickiness.py::test_the_users_of_the_command_line",
    "kubectl": ON_THE_NODE,
    "kubectl -n bokeh scale deployment/dashboards-2": BESIDE,
    "kubectl apply -k daemon": TUTORIAL,
    "kubectl apply -k app": TUTORIAL,
    "kubectl -n bokeh create secret generic dashboards": TUTORIAL,
    "kubectl -n bokeh port-forward service/dashboards": TUTORIAL,
    "kubectl -n bokeh-autoscaler port-forward service/prometheus": TUTORIAL,
    "autoscaler dashboard --prometheus http://localhost:9090": TUTORIAL,
    "autoscaler users http://127.0.0.1:8080/app 20": TUTORIAL,
    "autoscaler status -n bokeh --watch": TUTORIAL,
    "autoscaler doctor --namespace bokeh --deployment dashboards-2": TUTORIAL,
    "kubectl -n bokeh patch service dashboards": BESIDE,
    "kubectl -n bokeh patch service dashboards --type=merge --patch "
    '\'{"spec": {"selector": {"app": "dashboards", "app': f"{BACK}_and_back",
    "kubectl -n bokeh patch role bokeh-autoscaler": BESIDE,
    "kubectl -n bokeh get pods -l app=dashboards": BESIDE,
    "kubectl -n bokeh delete deployment dashboards": BESIDE,
    "kubectl -n bokeh get pods -o custom-columns": TROUBLES,
    "kubectl -n bokeh label pod": TROUBLES,
    "kubectl -n bokeh describe deployment": TROUBLES,
    "kubectl -n bokeh get hpa": MIGRATED,
    "kubectl get hpa": MIGRATED,
    "kubectl apply -f hpa.yaml": MIGRATED,
    "kubectl -n bokeh delete hpa": MIGRATED,
    "kubectl -n bokeh get deployment dashboards --show": f"{GITOPS}::test_the_printed_command",
    "kubectl -n bokeh get deployment bokeh-app -o jsonpath": MIGRATED,
    "kubectl -n bokeh get scaledobject": KEDA,
    "kubectl -n bokeh patch scaledobject": KEDA,
    "kubectl -n bokeh delete scaledobject": KEDA,
    "kubectl -n bokeh-autoscaler delete deployment": UNINSTALLED,
    "kubectl -n bokeh annotate deployment": PAUSED,
    "kubectl apply set-last-applied": IN_PLACE,
    "kubectl apply --server-side": f"{ADOPTED}::test_a_field_that_is_handed_over_stays",
    "kubectl apply -f dashboards": BESIDE,
    "sed -i '/^ *replicas:/d' dashboards.yaml": IN_PLACE,
    "kubectl rollout restart": "tests/node/test_zero_downtime.py::test_an_upgrade_of_the_daemon",
    "kubectl delete -k adoption": WAY_BACK,
    "kubectl delete -f adoption/": WAY_BACK,
    "kubectl -n bokeh delete secret sticky-haproxy": WAY_BACK,
    "kubectl -n bokeh get configmaps": WAY_BACK,
    "kubectl delete -k": "tests/deploy/test_admission.py::test_nothing_is_left",
    "kubectl apply -k deploy/kubernetes/recommended": RECOMMENDED,
    "kubectl apply -k deploy/examples/big-data": BIG_DATA_ON_THE_NODE,
    "autoscaler diff": SIMULATED,
    "for policy in policies/": "tests/docs/test_ci_page.py::test_the_printed_loop",
    "promtool check rules": "tests/deploy/test_alerts.py::test_no_fault_is_found_with_the_rules",
    "python -m tests.core.hpa_facts": COMMAND_LINE,
    "python -m tests.benchmarks.big_data": "tests/big_data/test_page.py::test_the_printed_measure",
    "python -m tests.benchmarks.fidelity": FIDELITY,
    "python -m tests.benchmarks.pod_hours": "tests/simulation/test_pod_hours.py::test_it_prints",
    "python -m tests.benchmarks.seats": "tests/exporter/test_loop_time.py::test_the_benchmark_of",
    "python -m tests.benchmarks.peers": "tests/simulation/test_peers.py::test_it_prints",
    "make bench-fidelity": FIDELITY,
    "make big-data": "tests/big_data/test_live.py::test_both_servers_are_there",
    "python -m big_data.make": LINES,
    "BIG_DATA_FOLDER=data": LINES,
    "curl": "tests/big_data/test_service.py::test_a_question_of_the_page_is_answered",
    "helm": BY_HELM,
    "printf 'CONFIG=/etc/haproxy/bokeh": HAPROXY,
    "sudo chmod 600 /etc/default/haproxy": HAPROXY,
    "sudo sh -c 'set -a; . /etc/default/haproxy": HAPROXY,
    "sudo mkdir -p /etc/nginx": NGINX,
    "sudo cp deploy/nginx": NGINX,
    "sudo rm -f /etc/nginx": NGINX,
    "sudo nginx": f"{PROXIES}::test_nginx_serves_beside_the_files_of_the_distribution",
    "sudo mkdir -p /etc/haproxy": HAPROXY,
    "sudo cp deploy/haproxy": HAPROXY,
    'echo "set server': f"{PROXIES}::test_haproxy_serves_by_its_service_and_takes_a_server_out",
    "curl http://10.0.0.11": f"{PROXIES}::nobody_is_connected",
}


# By page (or its folder) and language of its blocks that are no commands: what reads them.
README = "tests/deploy/test_readme.py"
ASKED = "tests/deploy/test_dashboard.py::test_every_question_of_a_page_has_an_answer"
SHOWN = "tests/status/test_status_table.py"
SCHEDULED = "tests/core/test_scheduled_settings.py"
READ_BY = {
    ("deploy", "dockerfile"): "tests/deploy/test_images.py::own_image",
    ("deploy", "yaml"): f"{README}::test_the_values_of_the_page_bring_the_monitoring",
    ("deploy", "promql"): ASKED,
    ("deploy/kubernetes", "yaml"): f"{README}::test_the_overlays_of_the_page_render",
    ("deploy/kubernetes", "promql"): ASKED,
    ("deploy/helm", "yaml"): f"{HELM_PAGE}::first_values",
    ("docs/adopt.md", "yaml"): f"{ADOPTED}::test_every_file_of_the_page_is_yaml",
    ("docs/tutorial.md", "python"): "tests/node/test_tutorial.py::panel_image",
    ("docs/tutorial.md", "dockerfile"): "tests/node/test_tutorial.py::panel_image",
    ("docs/tutorial.md", "yaml"): TUTORIAL,
    ("docs/tutorial.md", "text"): "tests/node/test_tutorial.py::shows",
    ("docs/stores.md", "yaml"): f"{STORES}::writing",
    ("docs/stores.md", "promql"): f"{STORES}::test_victoria_metrics_answers_the_questions",
    ("docs/decision.md", "yaml"): "tests/docs/test_decision_page.py::the_policy",
    ("docs/decision.md", "text"): "tests/docs/test_decision_page.py::test_the_order_is",
    ("docs/notices.md", "yaml"): "tests/core/test_notices.py::test_the_policy_of_the_page_asks",
    ("docs/answers.md", "yaml"): "tests/core/test_notices.py::test_the_policy_of_the_page_asks",
    ("docs/hints.md", "python"): f"{HINTED}::test_the_code_of_the_page_gives_its_hints",
    ("docs/answers.md", "python"): f"{HINTED}::test_the_code_of_the_page_gives_its_hints",
    ("docs/seats.md", "yaml"): f"{LOADS}::test_the_policy_of_the_page_learns_its_seats",
    ("docs/ci.md", "yaml"): "tests/docs/test_ci_page.py::lines",
    ("docs/ci.md", "text"): CI,
    ("docs/gitops.md", "yaml"): f"{GITOPS}::test_what_the_page_sets_keeps_the_replicas",
    ("docs/servers.md", "python"): f"{SERVERS}::test_users_of_flask_and_bokeh_in_one_process",
    ("docs/servers.md", "yaml"): f"{SERVERS}::test_the_arguments_of_the_manifest",
    ("docs/costs.md", "promql"): ASKED,
    ("docs/upgrade.md", "promql"): ASKED,
    ("docs/migrate.md", "yaml"): f"{MIGRATION}::test_the_page_prints_what_the_command_prints",
    ("docs/migrate.md", "text"): f"{MIGRATION}::test_the_page_prints_what_the_command_prints",
    ("docs/scaling-policies.md", "yaml"): RESOURCES,
    ("docs/scaling-policies.md", "text"): RESOURCES,
    ("docs/pause.md", "yaml"): f"{PAUSES}::test_a_policy_that_says_so_pauses_too",
    ("docs/dashboard.md", "dockerfile"): "tests/deploy/test_images.py::dashboard_image",
    ("docs/dashboard.md", "yaml"): f"{LIVE_PAGE}::test_the_printed_pod_is_whole",
    ("docs/status.md", "text"): f"{SHOWN}::test_the_page_shows_what_is_printed",
    ("docs/status.md", "yaml"): "tests/kubernetes/test_status.py::rules",
    ("docs/simulate.md", "csv"): SIMULATED,
    ("docs/simulate.md", "yaml"): SIMULATED,
    ("docs/simulate.md", "text"): SIMULATED,
    ("docs/journal.md", "text"): JOURNALED,
    ("docs/doctor.md", "text"): DOCTOR,
    ("policies", ""): "tests/docs/test_command_line.py::test_a_wrong_file_says_what_the_page_says",
    ("policies", "yaml"): f"{SCHEDULED}::test_the_policy_on_the_page_does_what_the_page_says",
    ("deploy/helm", ""): f"{HELM_PAGE}::test_a_wrong_key_is_refused_as_the_page_says",
    ("deploy/nginx", "nginx"): NGINX,
    ("deploy/haproxy", "haproxy"): f"{PROXIES}::test_haproxy_ends_tls_as_the_page_says",
    ("deploy/examples/big-data", "yaml"): f"{README}::test_the_overlay_of_the_example_renders",
}


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_something_reads_every_block_of_a_page(page: Path) -> None:
    places = (str(page.parent.relative_to(ROOT)), str(page.relative_to(ROOT)))
    ours = {language for place, language in READ_BY if place in places}

    assert languages(page) - {"sh"} == ours


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_something_runs_every_command_of_a_page(page: Path) -> None:
    for command in printed(page):
        fitting = [beginning for beginning in RUN_BY if command.startswith(beginning)]

        assert fitting, f"{page}: nothing runs `{command}`"


NOTES = ROOT / "deploy/helm/bokeh-autoscaler/templates/NOTES.txt"


def test_the_log_of_the_daemon_is_asked_of_all_its_pods() -> None:
    everywhere = [command for page in [*WITH_COMMANDS, RUNBOOK] for command in printed(page)]
    everywhere += [line.strip() for line in NOTES.read_text().splitlines()]
    ours = re.compile(r"kubectl -n (bokeh-autoscaler|{{.*?}}) logs ")
    asked = [each for each in everywhere if ours.match(each)]

    assert len(asked) > 10
    for command in asked:
        assert " logs -l app.kubernetes.io/name=" in command, "kubectl would choose one of two pods"
        assert " --prefix" in command, command
        # With a selector kubectl prints ten lines of each pod unless it is told otherwise.
        assert "--tail=" in command or command.endswith(" -f"), command
        assert "| grep" not in command or "--tail=-1" in command, command


def test_what_runs_them_is_there() -> None:
    for place in [*RUN_BY.values(), *READ_BY.values()]:
        file, _, name = place.partition("::")
        text = (ROOT / file).read_text()
        assert re.search(rf"(def|class) {name}", text) or file == SUITE, place


def test_no_beginning_is_left_over() -> None:
    all_printed = [command for page in WITH_COMMANDS for command in printed(page)]

    for beginning in RUN_BY:
        assert any(command.startswith(beginning) for command in all_printed), beginning
