// SPDX-License-Identifier: MIT OR Apache-2.0
//! What `--json` prints: the rows of every `show` command, as data. docs/json.md and docs/schema/*.json (JSON Schema 2020-12) are written from it
//! by a test, and what the commands really print is held against the schemas by another, so none of the three can lag.
//!
//! A row is one object a line. Its fields are written `name:type`: `int`, `num`, `text` or `bool`, `[int]` for a list, `{a:int b:text}` for an
//! object, with `?` behind it where null may stand; `*:int` is any number of fields more, `*:any` of any type. A command that has several kinds of rows has one text for each.
//! Names and types of fields stay what they are; new fields may come, so a reader skips what it does not know.

use serde_json::{Map, Value, json};

/// The rows of one command.
pub struct Rows {
    /// Its words.
    pub command: &'static str,
    /// What a row is, and its fields.
    pub kinds: &'static [(&'static str, &'static str)],
}

const fn rows(command: &'static str, kinds: &'static [(&'static str, &'static str)]) -> Rows {
    Rows { command, kinds }
}

const COUNTED: (&str, &str) = ("with `count` and without a filter", "in_use:int most_used:int");
const MATCHING: (&str, &str) = ("with `count` and a filter", "matching:int");
const CONN: (&str, &str) = (
    "a connection",
    "id:int protocol:text initiator:{interface:text address:text port:int mapped_address:text mapped_port:int} \
     responder:{interface:text address:text port:int mapped_address:text mapped_port:int} inbound:bool idle_seconds:int age_seconds:int \
     timeout_seconds:int bytes:int packets:int flags:text proxy_session:int?",
);
const XLATE: (&str, &str) = (
    "a translation",
    "protocol:text real_interface:text real_address:text real_port:int mapped_interface:text mapped_address:text mapped_port:int \
     flags:text idle_seconds:int timeout_seconds:int connections:int",
);
const MEMBER: (&str, &str) = (
    "a member",
    "sip_pool:text member:text state:text health:text draining:bool avoided_seconds:int weight:int sessions:int dialogs:int requests:int \
         failures:int last_answer:text last_answer_seconds:int? last_change_seconds:int?",
);
const LINE: &[(&str, &str)] = &[("a line of text", "line:text")];
const DROPS: &[(&str, &str)] = &[("a reason that dropped anything", "reason:text text:text count:int")];
const CLASSES: &[(&str, &str)] = &[
    (
        "a class",
        "class:text tls_proxy:text? sessions:int messages:int denied:int bytes:int limits:{*:int} conns:int embryonic:int drops:int \
         tcp_state_bypass:bool",
    ),
    ("a line of the class's inspect map", "map:text line:text action:text hits:int"),
];
const PROXY: &[(&str, &str)] = &[
    ("first: sessions", "in_use:int most_used:int memory_bytes:int"),
    ("a total", "total:text value:int"),
    ("how long handshakes took, microseconds", "handshake_us:{p50:int p99:int max:int}"),
    (
        "a session",
        "session:int tls_proxy:text outside_is_client:bool client:text server:text client_state:text server_state:text \
         client_cipher:text server_cipher:text identity:[text] messages_in:int messages_out:int denied:int bytes_in:int bytes_out:int \
         age_seconds:int idle_seconds:int memory_bytes:int",
    ),
    MEMBER,
];

/// Every command with rows.
pub const ROWS: &[Rows] = &[
    rows(
        "show access-list",
        &[("a combination of a line", "access_list:text line:int rule:text element:bool hits:int hash:int")],
    ),
    rows(
        "show arp",
        &[("a neighbour", "interface:text address:text mac:text age_seconds:int age:text state:text")],
    ),
    rows("show asp drop", DROPS),
    rows(
        "show capture",
        &[
            (
                "a capture",
                "capture:text command:text full:bool packets:int bytes:int buffer:int circular:bool",
            ),
            (
                "a frame of one; microseconds since 1970",
                "packet:int micros:int length:int interface:text direction:text drop_reason:text? summary:text arrives:[text]? leaves:[text]? \
                 bytes:text",
            ),
        ],
    ),
    rows(
        "show configuration commits",
        &[(
            "a commit, newest first; times in seconds since 1970",
            "back:int commit:int at:int uid:int user:text command:text returns_at:int?",
        )],
    ),
    rows("show conn", &[CONN, COUNTED, MATCHING]),
    rows(
        "show counters",
        &[
            ("a statistic or a level", "name:text value:int"),
            ("a distribution", "name:text count:int p50:int p99:int p999:int max:int"),
        ],
    ),
    rows(
        "show cpu",
        &[("a worker; null for all of them", "core:int? five_seconds:num one_minute:num five_minutes:num")],
    ),
    rows(
        "show crypto ca certificates",
        &[(
            "a certificate; times in seconds since 1970",
            "trustpoint:text ca:bool status:text serial:text subject:text issuer:text key:text signature:text not_before:int not_after:int \
         days_left:int",
        )],
    ),
    rows(
        "show crypto ca crls",
        &[
            (
                "a list; times in seconds since 1970",
                "trustpoint:text issuer:text last_update:int next_update:int? revoked:int bytes:int",
            ),
            ("a place that lists are fetched from", "trustpoint:text url:text polled:int? failed:text?"),
        ],
    ),
    rows(
        "show crypto ca trustpoints",
        &[("a trustpoint: subjects", "trustpoint:text ca:text? certificate:text?")],
    ),
    rows("show crypto key mypubkey", &[("a key pair", "label:text type:text bits:int made:int public:text")]),
    rows("show curpriv", &[("the user", "user:text uid:int privilege:int role:text mode:text")]),
    rows(
        "show dataplane",
        &[(
            "the dataplane",
            "pid:int workers:int answer_us:int policy_generation:int domains_generation:int in_force:bool configuration:text",
        )],
    ),
    rows(
        "show dialogs",
        &[
            ("first: how many, and what became of others", "in_use:int *:int"),
            (
                "a dialog",
                "call_id:text state:text usage:text inbound:bool domain:text outside:text inside:text server:text peer:text check:text \
             last_check:text rule:text? last_subscribe_seconds:int? expires_seconds:int? refresh_seconds:int? subscription_left_seconds:int? \
             age_seconds:int idle_seconds:int left_seconds:int idle_timeout_seconds:int worker:int warning:text?",
            ),
        ],
    ),
    rows("show diff", LINE),
    rows(
        "show dns",
        &[
            ("a name server", "server:text timeout_seconds:int retries:int source:text?"),
            ("what became of questions", "asked:int found:int nothing:int failed:int"),
            (
                "a domain",
                "domain:text outcome:text service:text? why:text? targets:int asked_seconds:int? again_seconds:int",
            ),
            (
                "a target of one",
                "domain:text target:text address:text port:int priority:int weight:int ttl_seconds:int state:text",
            ),
        ],
    ),
    rows(
        "show domains",
        &[
            ("a domain of our own", "list:text domain:text"),
            ("an entry, with its counts", "domain:text list:text peer:text? *:int"),
        ],
    ),
    rows("show drops", DROPS),
    rows(
        "show flow-export counters",
        &[("a collector", "interface:text address:text port:int packets:int records:int lost:int why:text")],
    ),
    rows(
        "show fragment",
        &[("an interface, with its counts", "interface:text size:int chain:int timeout_seconds:int *:int")],
    ),
    rows(
        "show image",
        &[
            ("what runs", "version:text slot:text?"),
            ("a slot", "slot:text good:bool booted:bool next:bool version:text?"),
        ],
    ),
    rows("show history", &[("a command", "command:text")]),
    rows(
        "show interface",
        &[(
            "an interface, with its counts",
            "name:text device:text shutdown:bool link_up:bool driver:text? mac:text? speed_mbps:int? mtu:int address:text? mask:text? \
         security_level:int *:int",
        )],
    ),
    rows(
        "show ip verify statistics",
        &[("an interface with the check", "interface:text unicast_rpf_drops:int")],
    ),
    rows(
        "show ipv6 interface",
        &[("an interface", "interface:text enabled:bool link_local:text? address:text? prefix_length:int?")],
    ),
    rows(
        "show ipv6 neighbor",
        &[("a neighbour", "interface:text address:text mac:text age_seconds:int age:text state:text")],
    ),
    rows("show ipv6 route", &[("a route", "code:text network:text gateway:text? interface:text metric:int")]),
    rows(
        "show local-host",
        &[
            (
                "a host",
                "interface:text address:text tcp:int udp:int other:int embryonic:int per_client_max:int?",
            ),
            CONN,
            XLATE,
        ],
    ),
    rows(
        "show logging",
        &[
            (
                "first: what is logged where",
                "enabled:bool facility:int buffered_level:int? buffered:int trap_level:int? trapped:int rate_limited:int disabled:int queue:int",
            ),
            (
                "a collector",
                "host:text interface:text transport:text port:int secure:bool rfc5424:bool up:bool sent:int? lost:int? connections:int? why:text?",
            ),
            ("a message of the buffer", "message:text"),
        ],
    ),
    rows(
        "show logging message",
        &[("a message that is treated otherwise", "message:int level:int? disabled:bool")],
    ),
    rows(
        "show memory",
        &[("bytes", "free:int used:int total:int control:int? dataplane:int? packet_buffers:int?")],
    ),
    rows("show metrics", &[("the listener", "address:text? listening:bool pages:int refused:int why:text")]),
    rows(
        "show nat",
        &[("a rule", "section:int number:int rule:text translate_hits:int untranslate_hits:int")],
    ),
    rows(
        "show nat pool",
        &[(
            "a pool",
            "kind:text pool:text protocol:text first_address:text last_address:text first_port:int last_port:int allocated:int blocks:int?",
        )],
    ),
    rows("show object-group", &[("a group", "name:text lines:[text]")]),
    rows("show proxy", PROXY),
    rows(
        "show route",
        &[
            ("a route", "code:text network:text mask:text interface:text"),
            ("a static route", "code:text network:text mask:text gateway:text interface:text metric:int"),
        ],
    ),
    rows("show running-config", LINE),
    rows("show service-policy", CLASSES),
    rows("show service-policy inspect sip", CLASSES),
    rows(
        "show sip",
        &[
            ("first: how many", "total:int"),
            ("a dialog", "call_id:text state:text idle_seconds:int left_seconds:int"),
        ],
    ),
    rows("show sip-pool", &[MEMBER]),
    rows("show startup-config", LINE),
    rows("show tech-support", &[("a command; its rows follow", "command:text"), ("a row of it", "*:any")]),
    rows("show time-range", &[("a time-range", "name:text active:bool lines:[text]")]),
    rows("show tls-proxy", PROXY),
    rows(
        "show top",
        &[(
            "a sample; counters by name",
            "at_ms:int hostname:text up_seconds:int in_force:bool cores:[{busy:int cycles:int packets:int conns:int}] \
             interfaces:[{name:text counters:{*:int}}] gauges:{*:int} stats:{*:int} drops:{*:int}",
        )],
    ),
    rows(
        "show version",
        &[(
            "what runs",
            "version:text control:{pid:int} dataplane:{pid:int up_seconds:int? workers:int}? in_force:bool configuration:text",
        )],
    ),
    rows(
        "show xlate",
        &[
            XLATE,
            (
                "a static line",
                "protocol:text real_interface:text real_address:text real_ports:[int] mapped_interface:text mapped_address:text \
             mapped_ports:[int] flags:text timeout_seconds:int",
            ),
            COUNTED,
            MATCHING,
        ],
    ),
    rows(
        "ping",
        &[(
            "at the end",
            "host:text size:int timeout_seconds:int sent:int answered:int min_us:int? avg_us:int? max_us:int?",
        )],
    ),
    rows("who", &[("a caller", "user:text uid:int privilege:int idle_seconds:int requests:int")]),
];

/// The schema of a row of a command, `count` behind a bar included.
pub fn schema(rows: &Rows) -> Value {
    let counted = ("with `| count`", "count:int");
    let kinds = rows.kinds.iter().chain([&counted]).map(|(what, fields)| {
        let mut row = object(fields);
        row["description"] = (*what).into();
        row
    });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("{} --json: one row", rows.command),
        "anyOf": kinds.collect::<Vec<_>>(),
    })
}

/// Name of the file of a command's schema.
pub fn file_name(rows: &Rows) -> String {
    format!("{}.json", rows.command.replace(' ', "-"))
}

/// docs/json.md.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    for rows in ROWS {
        out.push_str(&format!("\n## {} ([schema](schema/{}))\n\n", rows.command, file_name(rows)));
        for (what, fields) in rows.kinds {
            let fields: Vec<String> = words(fields).into_iter().map(|field| format!("`{field}`")).collect();
            out.push_str(&format!("- {what}: {}\n", fields.join(", ")));
        }
    }
    out
}

const HEAD: &str = "\
# JSON

Written by a test from `control/operate/show/schema.rs`: change it there. Another test holds what the commands print against the schemas.

With `--json`, or `| json` behind it, a `show` command prints one JSON object a line, without headings. Fields keep their names and types;
new ones may come, so skip what you do not know. `?` marks a field that may be null, `*` stands for more fields of that type, by the names of
`show counters`. `| count` makes of any of these the one row `{\"count\": N}`. Errors go to standard error, as text; exit codes are in [config.md](config.md).
";

fn object(fields: &str) -> Value {
    let (mut properties, mut required, mut more) = (Map::new(), Vec::new(), Value::Bool(false));
    for field in words(fields) {
        let (name, kind) = field.split_once(':').unwrap_or((field, "text"));
        match name {
            "*" => more = of_kind(kind),
            _ => {
                properties.insert(name.to_owned(), of_kind(kind));
                required.push(name);
            }
        }
    }
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": more })
}

fn of_kind(kind: &str) -> Value {
    if let Some(kind) = kind.strip_suffix('?') {
        return json!({ "anyOf": [of_kind(kind), { "type": "null" }] });
    }
    match kind {
        "int" => json!({ "type": "integer" }),
        "num" => json!({ "type": "number" }),
        "any" => json!(true),
        "bool" => json!({ "type": "boolean" }),
        "text" => json!({ "type": "string" }),
        _ => match (kind.strip_prefix('['), kind.strip_prefix('{')) {
            (Some(inner), _) => json!({ "type": "array", "items": of_kind(inner.trim_end_matches(']')) }),
            (_, Some(inner)) => object(inner.strip_suffix('}').unwrap_or(inner)),
            // A test asks for each.
            (None, None) => json!(false),
        },
    }
}

/// Fields, parted by the blanks that stand in no brackets.
fn words(fields: &str) -> Vec<&str> {
    let mut depth = 0i32;
    let parts = fields.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ' ' && depth == 0
    });
    parts.filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::operate::commands::SPECS;

    #[test]
    fn every_command_has_its_rows() {
        let shows =
            SPECS.iter().map(|spec| spec.words).filter(|words| words.starts_with("show ") || *words == "who");
        let mut missing: Vec<&str> =
            shows.filter(|words| !ROWS.iter().any(|rows| rows.command == *words)).collect();
        missing.dedup();
        assert_eq!(missing, [""; 0], "no rows in schema.rs");
        for rows in ROWS {
            assert!(SPECS.iter().any(|spec| spec.words == rows.command), "{} is no command", rows.command);
            for field in
                rows.kinds.iter().flat_map(|(_, fields)| fields.split([' ', '{', '}', '[', ']', '?']))
            {
                let kind = field.rsplit(':').next().unwrap_or_default();
                assert!(
                    ["", "int", "num", "text", "bool", "any"].contains(&kind),
                    "{}: {field}",
                    rows.command
                );
            }
        }
    }

    /// `FEDGATE_BLESS=1` writes them.
    #[test]
    fn the_documents_are_what_the_table_says() {
        let docs = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
        let mut files = vec![("json.md".to_owned(), reference())];
        for rows in ROWS {
            let text = serde_json::to_string_pretty(&schema(rows)).unwrap();
            files.push((format!("schema/{}", file_name(rows)), text + "\n"));
        }
        let bless = std::env::var_os("FEDGATE_BLESS").is_some();
        if bless {
            std::fs::create_dir_all(docs.join("schema")).unwrap();
        }
        for (name, text) in &files {
            if bless {
                std::fs::write(docs.join(name), text).unwrap();
            }
            let there = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
            assert!(there == *text, "docs/{name}: FEDGATE_BLESS=1 writes it anew");
        }
        let there = std::fs::read_dir(docs.join("schema")).unwrap().count();
        assert_eq!(there, ROWS.len(), "a schema of no command in docs/schema");
    }
}
