"""An OCI archive, unpacked into a bundle that an OCI runtime can start."""

import json
import os
import pathlib
import subprocess
import tarfile

# The runtime wants control groups of one kind; what is mounted here is this process's own.
OWN_MOUNTS = "umount -R -l /sys/fs/cgroup 2> /dev/null; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec crun --cgroup-manager=disabled run -b \"$@\""


class Image:
    """What the archive holds: its configuration and its files under `root`."""

    def __init__(self, archive, folder):
        self.folder = pathlib.Path(folder)
        self.root = self.folder / "root"
        with tarfile.open(archive) as blobs:
            def blob(digest):
                return blobs.extractfile("blobs/" + digest.replace(":", "/"))

            [index] = json.load(blobs.extractfile("index.json"))["manifests"]
            manifest = json.load(blob(index["digest"]))
            self.config = json.load(blob(manifest["config"]["digest"]))["config"]
            for layer in manifest["layers"]:
                with tarfile.open(fileobj=blob(layer["digest"])) as files:
                    files.extractall(self.root, numeric_owner=True)

    def files(self):
        return [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]

    def start(self, name, arguments, environment=(), volume=None, **others):
        """Starts a container as a kubelet would by its settings: the image's user, all capabilities dropped, a read-only root, a /tmp."""
        bundle = self.folder / name
        bundle.mkdir()
        subprocess.run(["crun", "spec"], cwd=bundle, check=True)
        spec = json.loads((bundle / "config.json").read_text())
        user, group = map(int, self.config["User"].split(":"))
        spec["root"] = {"path": str(self.root), "readonly": True}
        spec["process"].update(
            terminal=False, user={"uid": user, "gid": group}, cwd=self.config["WorkingDir"], noNewPrivileges=True,
            args=[*self.config["Entrypoint"], *arguments], capabilities={}, env=["PATH=/usr/bin", *environment])
        spec["mounts"] = [mount for mount in spec["mounts"] if not mount["destination"].startswith("/sys")]
        spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]})
        if volume:
            os.chown(volume, user, group)
            spec["mounts"].append({"destination": self.config["WorkingDir"], "type": "bind", "source": str(volume), "options": ["bind", "rw"]})
        # The network is this machine's: probes are asked over loopback.
        spec["linux"]["namespaces"] = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
        spec["linux"].pop("resources", None)
        (bundle / "config.json").write_text(json.dumps(spec))
        command = ["unshare", "--mount", "sh", "-c", OWN_MOUNTS, "sh", str(bundle), f"lanner-{os.getpid()}-{name}"]
        return subprocess.Popen(command, text=True, **others)
