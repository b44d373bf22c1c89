//! A door in front of a server: while it is shut, connections end and new ones come to nothing, as when the server is gone.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A running gate; it ends with the runtime that it was started on.
pub struct Gate {
    /// Where it listens: `127.0.0.1:port`.
    pub address: String,
    open: Arc<watch::Sender<bool>>,
}

impl Gate {
    /// Starts an open gate in front of the server at `target` (`host:port`).
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let (open, seen) = watch::channel(true);
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((mut inside, _)) = listener.accept().await {
                let (target, mut seen) = (target.clone(), seen.clone());
                tokio::spawn(async move {
                    if !*seen.borrow() {
                        return;
                    }
                    let Ok(mut outside) = TcpStream::connect(&target).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut inside, &mut outside) => {}
                        _ = seen.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open: Arc::new(open) }
    }

    /// Ends all connections and takes no more.
    pub fn shut(&self) {
        self.open.send_replace(false);
    }

    /// Lets connections through again.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}
