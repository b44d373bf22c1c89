//! A Kafka broker of a test's own, which it may kill and start again.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// One node that is broker and controller. Ended when dropped.
pub struct Broker {
    jars: PathBuf,
    folder: TempDir,
    port: u16,
    process: Child,
}

impl Broker {
    /// Starts one, or says why there is none.
    pub fn start() -> Result<Self, String> {
        let variable = "LANNER_TEST_KAFKA_JARS";
        let jars =
            PathBuf::from(std::env::var_os(variable).ok_or(format!("{variable} is not set (tests/servers sets it)"))?);
        let folder = TempDir::new().expect("a folder");
        let (port, controller) = (free_port(), free_port());
        fs::write(folder.path().join("properties"), properties(port, controller, folder.path())).expect("a file");
        let format = ["format", "--cluster-id=bGFubmVyLXRlc3RzLWthZg", "-c"];
        let formatted =
            java(&jars, "kafka.tools.StorageTool").args(format).arg(folder.path().join("properties")).status();
        assert!(formatted.expect("java starts").success(), "the folder is formatted");
        let process = serve(&jars, folder.path());
        Ok(Self { jars, folder, port, process })
    }

    /// Its address.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it: no word, no clean-up.
    pub fn kill(&mut self) {
        self.process.kill().expect("a kill");
        self.process.wait().expect("an end");
    }

    /// Starts it again at the same address, with what it had stored.
    pub fn start_again(&mut self) {
        self.process = serve(&self.jars, self.folder.path());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

fn serve(jars: &Path, folder: &Path) -> Child {
    java(jars, "kafka.Kafka").arg(folder.join("properties")).spawn().expect("java starts")
}

fn java(jars: &Path, main: &str) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]).arg(jars.join("*")).arg(main);
    java.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    java
}

fn properties(port: u16, controller: u16, folder: &Path) -> String {
    let (this, lines) = (format!("127.0.0.1:{port}"), folder.join("log").display().to_string());
    [
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
        format!("listeners=PLAINTEXT://{this},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners=PLAINTEXT://{this}"),
        "controller.listener.names=CONTROLLER".to_owned(),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        format!("log.dirs={lines}"),
        "auto.create.topics.enable=false".to_owned(),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=1".to_owned(),
        // A broker that was killed is let in again after the session of its former life.
        "broker.session.timeout.ms=2000".to_owned(),
        "broker.heartbeat.interval.ms=300".to_owned(),
        "group.consumer.min.session.timeout.ms=1000".to_owned(),
        "group.consumer.session.timeout.ms=3000".to_owned(),
        "group.consumer.min.heartbeat.interval.ms=100".to_owned(),
        "group.consumer.heartbeat.interval.ms=300".to_owned(),
    ]
    .join("\n")
}
