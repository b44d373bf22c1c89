//! A queue server of a test's own, which it may kill and start again.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

/// How long a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// ElasticMQ. Its queues outlive a kill, the messages in them do not. Ended when dropped.
pub struct QueueServer {
    jars: PathBuf,
    folder: PathBuf,
    port: u16,
    process: Child,
}

impl QueueServer {
    /// Starts one that keeps its queues in `folder`, or says why there is none.
    pub async fn start(folder: &Path) -> Result<Self, String> {
        let variable = "LANNER_TEST_ELASTICMQ_JARS";
        let jars = std::env::var_os(variable).ok_or(format!("{variable} is not set (tests/servers sets it)"))?;
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let (jars, folder) = (PathBuf::from(jars), folder.to_owned());
        let process = spawn(&jars, &folder, port);
        let server = Self { jars, folder, port, process };
        server.until_it_listens().await;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Kills it, and starts it again after a while at the same address.
    pub async fn restart_after(&mut self, gone: Duration) {
        self.end();
        tokio::time::sleep(gone).await;
        self.process = spawn(&self.jars, &self.folder, self.port);
        self.until_it_listens().await;
    }

    async fn until_it_listens(&self) {
        let listens = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(START_MAX, listens).await.expect("the queue server listens within a minute");
    }

    fn end(&mut self) {
        self.process.kill().expect("a kill");
        self.process.wait().expect("an end");
    }
}

impl Drop for QueueServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(jars: &Path, folder: &Path, port: u16) -> Child {
    Command::new("java")
        .args(["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Drest-sqs.bind-hostname=127.0.0.1", "-Dnode-address.host=127.0.0.1", "-Drest-stats.enabled=false"])
        .args([format!("-Drest-sqs.bind-port={port}"), format!("-Dnode-address.port={port}")])
        .arg("-Dqueues-storage.enabled=true")
        .arg(format!("-Dqueues-storage.path={}", folder.join("queues.conf").display()))
        .arg("-cp")
        .arg(jars.join("*"))
        .arg("org.elasticmq.server.Main")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("java starts")
}
