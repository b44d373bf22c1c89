"""Every pod keeps to the Pod Security Standard "restricted", and to a little more: nothing may be written, no token of the API."""

import copy

from helm import called, pod_of

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def problems(items):
    """What of these objects does not keep to it."""
    for item in items:
        pod = pod_of(item)
        if pod:
            for words in of_pod(pod["spec"]):
                yield f"{called(item)}: {words}"


def of_pod(pod):
    security = pod.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"{field} is set"
    for volume in pod.get("volumes", []):
        if not VOLUMES & set(volume):
            yield f"volume {volume['name']} is of a forbidden type"
    if pod.get("automountServiceAccountToken") is not False:
        yield "a token of the API is mounted"
    for container in pod["containers"] + pod.get("initContainers", []):
        yield from of_container(container, security)


def of_container(container, pod_security):
    own = container.get("securityContext", {})
    both = {**pod_security, **own}
    if both.get("runAsNonRoot") is not True:
        yield "runAsNonRoot is not true"
    if both.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is not RuntimeDefault"
    if own.get("privileged"):
        yield "privileged is true"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("readOnlyRootFilesystem") is not True:
        yield "readOnlyRootFilesystem is not true"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []):
        yield "capabilities are not dropped"
    if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities are added"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort is set"


def blind_spots(items):
    """The check itself: each of these changes to a pod must be noticed."""
    pods = [pod_of(item)["spec"] for item in items if pod_of(item)]

    def noticed(change):
        changed = copy.deepcopy(pods[0])
        change(changed, changed["containers"][0])
        return list(of_pod(changed))

    changes = {
        "host network": lambda pod, _: pod.update(hostNetwork=True),
        "host path": lambda pod, _: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
        "token": lambda pod, _: pod.pop("automountServiceAccountToken"),
        "root allowed": lambda pod, _: pod["securityContext"].pop("runAsNonRoot"),
        "root in the container": lambda _, one: one["securityContext"].update(runAsUser=0),
        "seccomp": lambda _, one: one["securityContext"].update(seccompProfile={"type": "Unconfined"}),
        "privileged": lambda _, one: one["securityContext"].update(privileged=True),
        "escalation": lambda _, one: one["securityContext"].pop("allowPrivilegeEscalation"),
        "writable": lambda _, one: one["securityContext"].update(readOnlyRootFilesystem=False),
        "capabilities kept": lambda _, one: one["securityContext"].update(capabilities={}),
        "capabilities added": lambda _, one: one["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
        "host port": lambda _, one: one.update(ports=[{"containerPort": 1, "hostPort": 1}]),
        "init container": lambda pod, _: pod.update(initContainers=[{"name": "x"}]),
    }
    for name, change in changes.items():
        if not noticed(change):
            yield f"the check does not notice: {name}"
