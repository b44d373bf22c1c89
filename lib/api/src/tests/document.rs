//! The OpenAPI document says what is answered.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{reads, writes};
use crate::problem::kinds;
use crate::testing::{Running, ScriptedReads, ScriptedWrites, start_reads, start_writes};

async fn fronts() -> [Running; 2] {
    [start_writes(ScriptedWrites::default()).await.0, start_reads(ScriptedReads::default()).await.0]
}

async fn document(front: &Running) -> Value {
    let request = "GET /openapi.json HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    let answer = front.raw(request.as_bytes()).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    answer.json()
}

/// Each operation: method, path template, what is said of it.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").iter();
        methods.map(move |(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    operations.collect()
}

fn statuses(operation: &Value) -> BTreeSet<u16> {
    operation["responses"]
        .as_object()
        .expect("responses")
        .keys()
        .map(|status| status.parse().expect("a status"))
        .collect()
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "$ref") {
                    Some(reference) => drop(found.insert(reference.to_owned())),
                    None => references(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_refers_to_nothing_that_is_not_in_it() {
    for front in fronts().await {
        let document = document(&front).await;
        assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")), "{document}");
        assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/Problem"), "{found:?}");
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference} is nowhere");
        }
        let id = &document["components"]["schemas"]["Id"];
        assert_eq!((&id["type"], &id["pattern"]), (&"string".into(), &"^[0-9]{1,19}$".into()));
    }
}

#[tokio::test]
async fn every_route_is_documented_with_its_token_and_what_all_routes_answer() {
    let mut found = Vec::new();
    for front in fronts().await {
        for (method, path, operation) in operations(&document(&front).await) {
            let answered = statuses(&operation);
            assert!(answered.is_superset(&[405, 500, 503].into()), "{method} {path}: {answered:?}");
            let is_private = path.starts_with("/v1/");
            assert_eq!(operation["security"][0].get("bearer").is_some(), is_private, "{method} {path}");
            assert_eq!(answered.contains(&401), is_private, "{method} {path}");
            assert_eq!(answered.contains(&400), is_private, "{method} {path}");
            found.push(format!("{method} {path}"));
        }
    }
    found.sort_unstable();
    let about = ["GET /openapi.json", "GET /problems/{name}"];
    let [room, message] = ["/v1/rooms/{room}", "/v1/rooms/{room}/messages/{message}"];
    let mut expected: Vec<String> = [about, about].concat().into_iter().map(str::to_owned).collect();
    expected.extend(["POST /v1/rooms", "GET /v1/organizations/{organization}/view-limit"].map(str::to_owned));
    expected.push(format!("DELETE {room}"));
    expected.extend(["PUT", "DELETE"].map(|method| format!("{method} {room}/members/{{account}}")));
    expected.extend(["POST", "GET"].map(|method| format!("{method} {room}/messages")));
    expected.extend(["PUT", "DELETE", "GET"].map(|method| format!("{method} {message}")));
    expected.sort_unstable();
    assert_eq!(found, expected);
}

/// Checks that a body has the members that its schema names, and no other.
#[track_caller]
fn assert_conforms(document: &Value, schema: &str, body: &Value) {
    let schema = &document["components"]["schemas"][schema];
    let known = schema["properties"].as_object().expect("properties");
    let told = body.as_object().expect("an object");
    let is_open = schema.get("additionalProperties").is_some();
    for (name, value) in told {
        assert!(is_open || known.contains_key(name), "{name} is not documented");
        assert!(!value.is_null(), "{name} is absent or has a value");
    }
    for name in schema["required"].as_array().expect("names") {
        assert!(told.contains_key(name.as_str().expect("a name")), "{name} is missing in {body}");
    }
}

#[tokio::test]
async fn what_is_told_has_the_form_that_is_documented() {
    let (front, _) = start_writes(ScriptedWrites::default()).await;
    let described = document(&front).await;
    for (line, body) in writes::CHANGES {
        assert_conforms(&described, "Receipt", &front.ask(line, "", body).await.json());
    }
    let (front, _) = start_reads(reads::full()).await;
    let described = document(&front).await;
    let [page, message, limit] = reads::QUESTIONS;
    let page = front.ask(page, "", None).await.json();
    assert_conforms(&described, "Message", &page["messages"][1]);
    assert_conforms(&described, "Page", &page);
    assert_conforms(&described, "Message", &front.ask(message, "", None).await.json());
    assert_conforms(&described, "ViewLimit", &front.ask(limit, "", None).await.json());
    let problem = front.ask("GET /v1/rooms/x/messages", "", None).await.json();
    assert_conforms(&described, "Problem", &problem);
}

/// The template of a path of these tests.
fn template(line: &str) -> (String, String) {
    let (method, path) = line.split_once(' ').expect("a line");
    let names = [("organizations", "organization"), ("rooms", "room"), ("messages", "message"), ("members", "account")];
    let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
    for index in 1..parts.len() {
        let name = names.iter().find(|(parent, _)| *parent == parts[index - 1]);
        if let Some((_, name)) = name {
            parts[index] = format!("{{{name}}}");
        }
    }
    (method.to_owned(), parts.join("/"))
}

fn documented(document: &Value, line: &str) -> BTreeSet<u16> {
    let (method, path) = template(line);
    statuses(&document["paths"][path][method.to_lowercase()])
}

#[tokio::test]
async fn what_a_change_can_end_with_is_documented() {
    let is_of_texts = |name: &str| ["empty-text", "too-large"].contains(&name);
    let is_of_members = |name: &str| ["memberships-owned-elsewhere", "unknown-member"].contains(&name);
    for (fails, status, name) in writes::FAILURES {
        let (front, _) = start_writes(ScriptedWrites { fails: Some(fails), ..ScriptedWrites::default() }).await;
        let document = document(&front).await;
        for (line, body) in writes::CHANGES {
            let has_text = body.is_some();
            if (is_of_texts(name) && !has_text) || (is_of_members(name) && line.contains("messages")) {
                continue;
            }
            assert_eq!(front.ask(line, "", body).await.status, status, "{line} {name}");
            let documented = documented(&document, line);
            assert!(documented.contains(&status) && documented.contains(&202), "{line} {name}: {documented:?}");
        }
    }
}

#[tokio::test]
async fn what_reading_can_end_with_is_documented() {
    for (index, (_, status, name)) in reads::FAILURES.into_iter().enumerate() {
        let (front, _) = start_reads(reads::failing(index)).await;
        let document = document(&front).await;
        for line in reads::QUESTIONS {
            let is_of_a_message = ["not-found", "deleted", "view-limit"].contains(&name);
            let is_of_a_room = ["not-a-member", "behind"].contains(&name);
            if (is_of_a_message && line != reads::QUESTIONS[1]) || (is_of_a_room && line == reads::QUESTIONS[2]) {
                continue;
            }
            assert_eq!(front.ask(line, "", None).await.status, status, "{line} {name}");
            let documented = documented(&document, line);
            assert!(documented.contains(&status) && documented.contains(&200), "{line} {name}: {documented:?}");
        }
    }
}

#[tokio::test]
async fn every_problem_explains_itself_and_is_documented_somewhere() {
    let fronts = fronts().await;
    let mut documents = String::new();
    for front in &fronts {
        documents += &document(front).await.to_string();
    }
    for kind in kinds::ALL {
        assert!(documents.contains(&format!("`{}`", kind.name)), "{} is answered by no route", kind.name);
        let request = format!("GET /problems/{} HTTP/1.1\r\nhost: t\r\nconnection: close\r\n\r\n", kind.name);
        let answer = fronts[0].raw(request.as_bytes()).await;
        assert_eq!((answer.status, &answer.json()["meaning"]), (200, &kind.meaning.into()));
    }
    fronts[1].ask("GET /problems/nonsense", "", None).await.assert_problem(404, "no-route");
}
