//! The services as processes of the binary.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use api::Keys;
use chat::{AccountId, OrganizationId, Timestamp};
use jobs::messages::Caller;

use super::Http;
use crate::{Program, until};

/// The job that accepts.
pub const WRITES: &str = "serve-writes";
/// The job that makes the read model.
pub const READ_MODEL: &str = "build-read-model";
/// The job that answers readers.
pub const READS: &str = "serve-reads";

/// A key for tokens that stands for nobody: 32 bytes that everybody can read here.
const JWKS: &str =
    r#"{"keys":[{"kty":"oct","kid":"test","alg":"HS256","k":"dGhpcyBrZXkgaXMgZm9yIHRlc3RzIG9ubHkgLSAzMiBieXRlcyE"}]}"#;

/// The message path of one program, of which each service runs or does not.
pub struct Served {
    program: Program,
    /// The writing service.
    pub writes: Http,
    /// The reading service.
    pub reads: Http,
    /// Where `build-read-model` tells of itself.
    pub read_model: Http,
    probes: String,
    keys: Keys,
    processes: Mutex<BTreeMap<&'static str, Child>>,
}

impl Served {
    /// Nothing is started yet.
    pub fn new(program: &Program) -> Self {
        let [writes, reads, read_model] = free_addresses();
        let program = program
            .clone()
            .with("LANNER_AUTH_JWKS", JWKS)
            .with("LANNER_WRITE_API_LISTEN", &writes)
            .with("LANNER_READ_API_LISTEN", &reads);
        Self {
            probes: read_model.clone(),
            program,
            writes: Http::new(format!("http://{writes}")),
            reads: Http::new(format!("http://{reads}")),
            read_model: Http::new(format!("http://{read_model}")),
            keys: Keys::from_jwks(JWKS).expect("keys"),
            processes: Mutex::default(),
        }
    }

    /// Starts a job that does not run.
    pub fn start(&self, job: &'static str) {
        let program = match job {
            READ_MODEL => self.program.clone().with("LANNER_HTTP_LISTEN", &self.probes),
            _ => self.program.clone(),
        };
        let process = program.start(job);
        assert!(self.processes().insert(job, process).is_none(), "{job} runs already");
    }

    /// Starts one more `build-read-model` that tells nobody of itself.
    pub fn start_another_read_model(&self) -> Another {
        Another(self.program.start(READ_MODEL))
    }

    /// Starts a job unless it runs.
    pub fn start_if_ended(&self, job: &'static str) {
        if !self.processes().contains_key(job) {
            self.start(job);
        }
    }

    /// Starts everything and waits until it answers.
    pub async fn start_all(&self) {
        [WRITES, READ_MODEL, READS].into_iter().for_each(|job| self.start(job));
        self.answer().await;
    }

    /// Waits until both services answer.
    pub async fn answer(&self) {
        for service in [&self.writes, &self.reads] {
            until("the service answers", async || service.send("GET", "/openapi.json", &[], None).await.is_ok()).await;
        }
    }

    /// Kills a job that runs: no word, no clean-up.
    pub fn kill(&self, job: &'static str) {
        let mut process = self.processes().remove(job).expect("it runs");
        process.kill().expect("killed");
        process.wait().expect("an end");
    }

    /// Asks a job to stop and waits for it; the exit code.
    pub fn stop(&self, job: &'static str) -> Option<i32> {
        let mut process = self.processes().remove(job).expect("it runs");
        stop(&mut process)
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<&'static str, Child>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A token for an account.
    pub fn token(&self, account: u64, organization: u64, is_admin: bool) -> String {
        let (account, organization) = (AccountId::from_bits(account), OrganizationId::from_bits(organization));
        let caller = Caller { account, organization, is_admin };
        self.keys.sign(caller, Duration::from_secs(86_400), Timestamp::now()).expect("a token")
    }
}

/// A process beside those of [`Served`]. Killed when dropped.
pub struct Another(Child);

impl Another {
    /// Asks it to stop and waits for it; the exit code.
    pub fn stop(mut self) -> Option<i32> {
        stop(&mut self.0)
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stop(process: &mut Child) -> Option<i32> {
    let told = std::process::Command::new("kill").arg(process.id().to_string()).status().expect("kill runs");
    assert!(told.success());
    process.wait().expect("an end").code()
}

impl Drop for Served {
    fn drop(&mut self) {
        for process in self.processes().values_mut() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Addresses that nobody listens on. Others could take them before they are used; that would be seen.
fn free_addresses<const N: usize>() -> [String; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    listeners.map(|listener| listener.local_addr().expect("an address").to_string())
}
