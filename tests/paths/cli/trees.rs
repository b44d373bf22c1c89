//! What a process supervises is what its documentation says.

use std::io::Read;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::shop::Shop;

/// The tree that a process printed to standard error.
fn printed(errors: &str) -> String {
    let tree = errors.split_once("supervised:\n").map_or("", |(_, tree)| tree);
    let is_line = |line: &&str| *line == "process" || ["│", "├", "└", " "].iter().any(|begin| line.starts_with(begin));
    tree.lines().take_while(is_line).map(|line| format!("{line}\n")).collect()
}

/// The tree of a process in the documentation.
fn documented(process: &str) -> String {
    let text = include_str!("../../../docs/supervision.md");
    let section = text.split_once(&format!("\n## {process}\n")).expect("a section").1;
    let tree = section.split_once("```text\n").expect("a tree").1;
    tree.split_once("```").expect("the end of the tree").0.to_owned()
}

#[test]
fn the_tree_of_each_process_stands_in_the_documentation() {
    let shop = Shop::new(75);
    let program = shop.program.clone().with("LANNER_LOG_FILTER", "lanner=debug");
    for process in
        ["collect-rooms", "merge-newest", "serve-writes", "build-read-model", "serve-reads", "follow-limits", "up"]
    {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let worker = program.clone().with("LANNER_HTTP_LISTEN", port);
        let worker =
            worker.with("LANNER_WRITE_API_LISTEN", "127.0.0.1:0").with("LANNER_READ_API_LISTEN", "127.0.0.1:0");
        let mut worker = worker.command([process]).stderr(Stdio::piped()).spawn().expect("a worker");
        let mut errors = worker.stderr.take().expect("its words");
        let mut said = String::new();
        while !said.contains("working until stopped") {
            let mut bytes = [0; 4096];
            let read = errors.read(&mut bytes).expect("words");
            assert!(read > 0, "{process} ended: {said}");
            said.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        Command::new("kill").args(["-TERM", &worker.id().to_string()]).status().expect("kill runs");
        assert_eq!(worker.wait().expect("an end").code(), Some(0));
        assert_eq!(printed(&said), documented(process), "docs/supervision.md, {process}");
    }
    let run = program.run("run").exits(0);
    assert_eq!(printed(&run.err), documented("run"), "docs/supervision.md, run");
}
