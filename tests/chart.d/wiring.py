"""What objects say of each other is true: names, labels, ports; and what the jobs' objects must say."""

import re
import zoneinfo

from helm import called, pod_of
from start import INDEX


def problems(items):
    """What does not fit together."""
    found = {(item["kind"], item["metadata"]["name"]): item for item in items}
    if len(found) != len(items):
        yield "two objects have one name"
    for (kind, name), item in found.items():
        # The suffix of a CronJob's Jobs, and then of their pods, comes behind.
        longest = {"CronJob": 52, "Job": 57}.get(kind, 63)
        if len(name) > longest or not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
            yield f"{called(item)}: the name is longer than {longest} or no name"
    pods = {called(item): pod_of(item) for item in items if pod_of(item)}
    for name, pod in pods.items():
        yield from of_pod(name, pod, found)
    for item in items:
        yield from of_labels(item)
        yield from of_object(item, found, pods)


def of_labels(item):
    for key, value in item["metadata"].get("labels", {}).items():
        if not re.fullmatch(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?", value):
            yield f"{called(item)}: {key} has a value that is no label's: {value!r}"


def of_pod(name, pod, found):
    spec = pod["spec"]
    if ("ServiceAccount", spec["serviceAccountName"]) not in found:
        yield f"{name}: there is no service account {spec['serviceAccountName']}"
    if ("ConfigMap", spec["volumes"][0]["projected"]["sources"][0]["configMap"]["name"]) not in found:
        yield f"{name}: the settings it mounts do not exist"
    [container] = spec["containers"]
    ports = {port["name"] for port in container.get("ports", [])}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if probe in container and container[probe]["httpGet"]["port"] not in ports:
            yield f"{name}: {probe} asks a port that is not there"
    names = [variable["name"] for variable in container["env"]]
    if len(set(names)) != len(names):
        yield f"{name}: a variable is given twice: {sorted(names)}"


def of_object(item, found, pods):
    name, kind, spec = called(item), item["kind"], item.get("spec", {})
    if kind in ("ScaledObject", "HorizontalPodAutoscaler"):
        target = found.get(("Deployment", spec["scaleTargetRef"]["name"]))
        if not target or "replicas" in target["spec"]:
            yield f"{name}: its Deployment is not there, or says its own number"
        for trigger in spec.get("triggers", []):
            authentication = trigger.get("authenticationRef")
            if authentication and ("TriggerAuthentication", authentication["name"]) not in found:
                yield f"{name}: there is no {authentication['name']}"
    chosen = {pod: each for pod, each in pods.items() if selected(item) and selected(item) <= each["metadata"]["labels"].items()}
    if selected(item):
        expected = len(pods) if of_all_pods(item) else 1
        if len(chosen) != expected:
            yield f"{name} is about {list(chosen)}, expected {expected} pods"
    if kind in ("Service", "NetworkPolicy"):
        ports = {port["name"] for pod in chosen.values() for port in pod["spec"]["containers"][0].get("ports", [])}
        for port in sorted(named_ports(item) - ports):
            yield f"{name} is about a port {port} that is not there"
    if kind == "StatefulSet":
        yield from of_shards(name, spec, found)
    if kind in ("CronJob", "Job"):
        yield from of_job(name, spec["jobTemplate"]["spec"] if kind == "CronJob" else spec)
    if kind == "CronJob":
        if spec["concurrencyPolicy"] != "Forbid":
            yield f"{name}: two runs may overlap"
        if spec["timeZone"] not in zoneinfo.available_timezones():
            yield f"{name}: there is no time zone {spec['timeZone']}"


def of_shards(name, spec, found):
    """Each pod knows its number, and how many there are is how many it is told."""
    if ("Service", spec["serviceName"]) not in found:
        yield f"{name}: there is no Service {spec['serviceName']}"
    [container] = spec["template"]["spec"]["containers"]
    given = {variable["name"]: variable for variable in container["env"]}
    section = container["command"][1].replace("-", "_").upper()
    if given[f"LANNER_{section}_SHARDS"]["value"] != str(spec["replicas"]):
        yield f"{name}: its pods are told another number than {spec['replicas']}"
    if given[f"LANNER_{section}_SHARD"].get("valueFrom") != {"fieldRef": {"fieldPath": INDEX}}:
        yield f"{name}: its pods do not know which one they are"


def selected(item):
    """The labels by which an object chooses pods."""
    spec = item.get("spec", {})
    match item["kind"]:
        case "Deployment" | "StatefulSet" | "PodDisruptionBudget" | "PodMonitor":
            return spec["selector"]["matchLabels"].items()
        case "NetworkPolicy":
            return spec["podSelector"]["matchLabels"].items()
        case "Service":
            return spec["selector"].items()


def of_all_pods(item):
    """Whether an object is about all pods: policies are, but for those that let somebody in to one job."""
    return item["kind"] == "PodMonitor" or (item["kind"] == "NetworkPolicy" and "app.kubernetes.io/component" not in dict(selected(item)))


def named_ports(item):
    """The ports of pods that an object calls by their names."""
    spec = item["spec"]
    ports = [port["targetPort"] for port in spec.get("ports", [])] + [port["port"] for rule in spec.get("ingress", []) for port in rule["ports"]]
    return {port for port in ports if isinstance(port, str)}


def of_job(name, spec):
    """42 ends it at once, a disruption does not count, 75 is tried again."""
    rules = spec["podFailurePolicy"]["rules"]
    ignored = [rule for rule in rules if rule["action"] == "Ignore"]
    failing = [code for rule in rules if rule["action"] == "FailJob" for code in rule["onExitCodes"]["values"]]
    if [rule["onPodConditions"] for rule in ignored] != [[{"type": "DisruptionTarget", "status": "True"}]]:
        yield f"{name}: a disruption counts as a failure"
    # The API server takes them only so.
    if failing != sorted(set(failing)) or 0 in failing:
        yield f"{name}: exit codes {failing} are not in order"
    if 42 not in failing or 75 in failing:
        yield f"{name}: exit codes {failing} end it at once"
    # The API server refuses a policy of failures with anything else.
    if spec["template"]["spec"]["restartPolicy"] != "Never":
        yield f"{name}: restartPolicy must be Never"
    containers = {container["name"] for container in spec["template"]["spec"]["containers"]}
    if any(rule["onExitCodes"].get("containerName", "lanner") not in containers for rule in rules if "onExitCodes" in rule):
        yield f"{name}: a rule names a container that is not there"


def policies(items):
    """Everything is denied first, and each destination is a policy with its name."""
    found = [item for item in items if item["kind"] == "NetworkPolicy"]
    denied = [item for item in found if set(item["spec"]["policyTypes"]) == {"Ingress", "Egress"}]
    if len(denied) != 1 or "ingress" in denied[0]["spec"] or "egress" in denied[0]["spec"]:
        yield f"there is no policy that denies all: {[called(item) for item in denied]}"
    for item in found:
        for rule in item["spec"].get("egress", []) + item["spec"].get("ingress", []):
            if not rule.get("ports") or not (rule.get("to") or rule.get("from")):
                yield f"{called(item)} opens more than some ports to somebody"
