//! Everything that an answer can say besides success: one table, which the answers, `GET /problems/{name}` and the OpenAPI document read.

use serde::Serialize;
use utoipa::ToSchema;

/// A type of problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ProblemType)]
pub struct Kind {
    /// Its name, the last part of its `type`.
    pub name: &'static str,
    /// The status that it is answered with.
    pub status: u16,
    /// What is wrong, in one line that never changes.
    pub title: &'static str,
    /// What it means and what to do.
    pub meaning: &'static str,
}

macro_rules! kinds {
    ($($constant:ident = $name:literal, $status:literal, $title:literal, $meaning:literal;)*) => {
        $(#[doc = $title] pub const $constant: Kind =
            Kind { name: $name, status: $status, title: $title, meaning: $meaning };)*

        /// All types of problems.
        pub const ALL: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    BAD_ID = "bad-id", 400, "An id in the path is not an id",
        "Ids are whole numbers from 0 to 9223372036854775807, written in decimal digits.";
    BAD_QUERY = "bad-query", 400, "The query does not read",
        "A parameter is unknown, stands twice, or has a value that it cannot have. See the document at /openapi.json.";
    BAD_HEADER = "bad-header", 400, "A header does not read",
        "An Idempotency-Key is one value of 1 to 255 visible ASCII characters, in double quotes or without.";
    MALFORMED_JSON = "malformed-json", 400, "The body is not JSON",
        "The body must be one JSON value in UTF-8.";
    MISSING_TOKEN = "missing-token", 401, "There is no bearer token",
        "Send the header Authorization: Bearer <token>.";
    EXPIRED_TOKEN = "expired-token", 401, "The token has expired",
        "Get a new token and repeat.";
    INVALID_TOKEN = "invalid-token", 401, "The token is not valid",
        "It is not signed by a known key, is not in force yet, is for somebody else, or lacks a claim. No answer tells which.";
    NOT_A_MEMBER = "not-a-member", 403, "Not a member of the room",
        "The account is not a member of this room, or there is no such room. The answer is the same on purpose.";
    NOT_AN_ADMIN = "not-an-admin", 403, "Only an administrator of the room may do this",
        "The token needs the scope rooms:admin.";
    OTHER_ORGANIZATION = "other-organization", 403, "Not of this organization",
        "The token's account is not an active account of the token's organization, or what is asked for is another organization's.";
    VIEW_LIMIT = "view-limit", 403, "Hidden by the viewing limit of the organization's plan",
        "The member `rule` says which limit hides it: `age`, too old; or `count`, not among the newest of all rooms.";
    NOT_FOUND = "not-found", 404, "There is no such message",
        "No message of this room has this id, or it cannot be read yet. `min_version` tells these apart.";
    NO_ROUTE = "no-route", 404, "There is nothing at this address",
        "The document at /openapi.json lists what there is.";
    WRONG_METHOD = "wrong-method", 405, "The address knows other methods only",
        "The header Allow lists them.";
    SLOW_BODY = "slow-body", 408, "The body did not arrive in time",
        "Nothing was done. Repeat.";
    KEY_IN_PROGRESS = "key-in-progress", 409, "A request with this Idempotency-Key is in work",
        "Wait for its answer, or repeat a little later.";
    MEMBERSHIPS_OWNED_ELSEWHERE = "memberships-owned-elsewhere", 409, "Rooms and memberships are owned by another system",
        "The directory belongs to an existing chat: change rooms and members there.";
    DELETED = "deleted", 410, "The message is deleted",
        "It will not come back.";
    BEHIND = "behind", 412, "What can be read is older than asked for",
        "The change of `min_version` cannot be read yet. Repeat after Retry-After, or without min_version.";
    TOO_LARGE = "too-large", 413, "The body is too large",
        "The member `max_bytes` says how many bytes are taken.";
    NOT_JSON = "not-json", 415, "The body is not declared as JSON",
        "Send Content-Type: application/json, without Content-Encoding.";
    INVALID_BODY = "invalid-body", 422, "The body is JSON of another form",
        "A field is missing, unknown, or of another type. See the document at /openapi.json.";
    EMPTY_TEXT = "empty-text", 422, "A message has text",
        "The text of a message cannot be empty.";
    UNKNOWN_MEMBER = "unknown-member", 422, "Who is to join is no active account",
        "The directory knows no such active account.";
    KEY_REUSED = "key-reused", 422, "The Idempotency-Key belongs to another request",
        "A key stands for one request. Use a new key for a new request.";
    INTERNAL = "internal", 500, "Something is broken here",
        "Repeating does not help before somebody has repaired it. The header X-Request-Id finds the request in the logs.";
    NOT_STORED = "not-stored", 503, "The change was not stored",
        "A system behind this one cannot be reached. Nothing was changed: repeat after Retry-After.";
    UNAVAILABLE = "unavailable", 503, "It cannot be read now",
        "A system behind this one cannot be reached, or answers too slowly. Repeat after Retry-After.";
    OVERLOADED = "overloaded", 503, "Too many requests are in work",
        "The request was not begun. Repeat after Retry-After.";
    OUTCOME_UNKNOWN = "outcome-unknown", 504, "Whether the change was stored is not known",
        "Repeat with the same Idempotency-Key: it is stored once at most. Without a key, read first.";
}

/// What any answer can be, whatever is asked.
pub const ALWAYS: &[Kind] = &[WRONG_METHOD, INTERNAL, OVERLOADED];
/// Where a bearer token is asked for.
pub const TOKEN: &[Kind] = &[MISSING_TOKEN, EXPIRED_TOKEN, INVALID_TOKEN, OTHER_ORGANIZATION];
/// Where the path has ids.
pub const IDS: &[Kind] = &[BAD_ID];
/// Where a query is taken.
pub const QUERY: &[Kind] = &[BAD_QUERY];
/// Where a body is taken.
pub const BODY: &[Kind] = &[MALFORMED_JSON, SLOW_BODY, TOO_LARGE, NOT_JSON, INVALID_BODY, EMPTY_TEXT];
/// What any change can end with.
pub const WRITE: &[Kind] =
    &[BAD_QUERY, BAD_HEADER, NOT_A_MEMBER, NOT_AN_ADMIN, KEY_IN_PROGRESS, KEY_REUSED, NOT_STORED, OUTCOME_UNKNOWN];
/// What a change of rooms and members can end with besides.
pub const MEMBERSHIP: &[Kind] = &[MEMBERSHIPS_OWNED_ELSEWHERE, UNKNOWN_MEMBER];
/// What reading can end with.
pub const READ: &[Kind] = &[UNAVAILABLE];
/// What reading a room can end with besides.
pub const READ_ROOM: &[Kind] = &[NOT_A_MEMBER, BEHIND];
/// What reading one message can end with besides.
pub const READ_MESSAGE: &[Kind] = &[NOT_FOUND, DELETED, VIEW_LIMIT];
/// What asking for the meaning of a problem can end with besides.
pub const MEANING: &[Kind] = &[NO_ROUTE];
