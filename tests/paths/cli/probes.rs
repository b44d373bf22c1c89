//! What a long-running job tells over HTTP.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use support::until;

use super::shop::Shop;

/// The answer to a request, head and body; nothing while nobody listens.
fn get(address: &str, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_answers_probes_and_tells_what_it_did() {
    let shop = Shop::new(74);
    let free_port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let address = free_port.to_string();
    shop.program.run("extract-organizations --run probed --as-of 2026-01-01T00:00:00Z").exits(0);
    let mut worker = shop.program.clone().with("LANNER_HTTP_LISTEN", &address).start("collect-rooms");
    let done = format!("lanner_messages_total{{job=\"collect-rooms\",ending=\"done\"}} {}", shop.chat.free());
    until("the metrics tell that every organization is collected", async || {
        get(&address, "/metrics").is_some_and(|told| told.contains(&done))
    })
    .await;
    for probe in ["/livez", "/readyz"] {
        assert!(get(&address, probe).expect("an answer").starts_with("HTTP/1.1 200"), "{probe}");
    }
    until("the queue depth is told", async || {
        get(&address, "/metrics")
            .is_some_and(|told| told.contains("lanner_queue_messages{queue=\"rooms\",state=\"visible\"}"))
    })
    .await;
    Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().expect("kill runs");
    assert_eq!(worker.wait().expect("an end").code(), Some(0));

    // Extraction tells as well, while it waits for workers that have not come.
    let waiting = "extract-organizations --run waiting --as-of 2026-01-01T00:00:00Z --wait";
    let mut extraction = shop.program.clone().with("LANNER_HTTP_LISTEN", &address).start(waiting);
    until("extraction is ready", async || {
        get(&address, "/readyz").is_some_and(|told| told.starts_with("HTTP/1.1 200"))
    })
    .await;
    Command::new("kill").args(["-TERM", &extraction.id().to_string()]).status().expect("kill runs");
    assert_eq!(extraction.wait().expect("an end").code(), Some(75));

    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    shop.program
        .clone()
        .with("LANNER_HTTP_LISTEN", &address)
        .run("collect-rooms")
        .exits(42)
        .says(&["http.listen", &address]);
}
