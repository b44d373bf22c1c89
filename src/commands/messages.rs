//! `lanner messages`: what was written in a room.

use std::collections::HashMap;

use chat::{Epoch, Message, MessageId, MessagePageRequest, RoomId};
use clap::Args;
use serde::Serialize;

use super::App;
use crate::exit::{self, Outcome};
use crate::output::{self, Column, minute, or_dash, say, table};
use crate::wiring;

/// Characters of a body that a table shows; --json has all.
const SHOWN: usize = 300;

/// Show what was written in a room, newest first
///
/// Only messages that were imported with authors or bodies are kept with what they say.
#[derive(Args, Debug)]
pub(crate) struct MessagesArgs {
    /// The room
    #[arg(long, value_name = "ID")]
    room: RoomId,
    /// Only messages with a smaller id: the last one shown, to go on
    #[arg(long, value_name = "ID")]
    below: Option<MessageId>,
    /// At most so many messages
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
}

/// A message as it is shown.
#[derive(Serialize)]
struct Shown {
    room: RoomId,
    #[serde(rename = "message_id")]
    id: MessageId,
    written_at: chat::Timestamp,
    deleted: bool,
    author_id: Option<chat::AccountId>,
    author: Option<String>,
    body: Option<String>,
}

pub(crate) async fn run(app: &App, args: &MessagesArgs) -> Outcome {
    let opened = wiring::open_messages(&app.settings, "messages").await?;
    let (messages, epoch) = (&opened.messages, opened.epoch);
    let (mut found, mut below) = (Vec::new(), args.below.unwrap_or(MessageId::MAX));
    while found.len() < args.limit as usize {
        let limit = args.limit as usize - found.len();
        let page = messages.page(&MessagePageRequest { room: args.room, below, limit }).await?;
        found.extend(page.messages);
        let Some(resume_below) = page.resume_below else { break };
        below = resume_below;
    }
    let mut authors: Vec<u64> = found.iter().filter_map(author).map(|id| id.get()).collect();
    authors.sort_unstable();
    authors.dedup();
    let names = opened.names_of(&authors).await?;
    let names: HashMap<u64, String> =
        authors.into_iter().zip(names).filter_map(|(id, name)| Some((id, name?))).collect();
    let shown: Vec<Shown> = found.into_iter().map(|message| show(message, &names, epoch)).collect();
    if app.json {
        output::json(&shown)?;
    } else if shown.is_empty() {
        say!("room {}: nothing is kept of what was written", args.room);
    } else {
        let columns = [Column::Name("written"), Column::Number("id"), Column::Text("author"), Column::Text("body")];
        say!("{}", table(&columns, shown.iter().map(row)));
    }
    Ok(exit::DONE)
}

fn author(message: &Message) -> Option<chat::AccountId> {
    message.content.as_ref().and_then(|content| content.author)
}

fn show(message: Message, names: &HashMap<u64, String>, epoch: Epoch) -> Shown {
    let author_id = author(&message);
    Shown {
        room: message.room,
        id: message.id,
        written_at: epoch.time_of(message.id),
        deleted: message.content.is_none(),
        author_id,
        author: author_id.and_then(|id| names.get(&id.get()).cloned()),
        body: message.content.map(|content| content.body),
    }
}

fn row(shown: &Shown) -> Vec<String> {
    let author = shown.author.clone().unwrap_or_else(|| or_dash(shown.author_id));
    let body = match &shown.body {
        Some(body) => plain(body),
        None => "(deleted)".to_owned(),
    };
    vec![minute(shown.written_at), shown.id.to_string(), plain(&author), body]
}

/// A text for a terminal: what would move its cursor or change its colours is blank.
fn plain(text: &str) -> String {
    let mut plain: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        plain.push('…');
    }
    plain
}
