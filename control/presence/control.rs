// SPDX-License-Identifier: MIT OR Apache-2.0
//! The control socket: what the operator's command line and local services ask of the node.
//!
//! A Unix socket with mode 0600. One JSON object a line, a [`Command`]; one line back: `{"ok":true}`, `{"ok":false,"why":...}`, or
//! `{"ok":true,"told":...}`. A reply to a decision means that it is on the disk.
//!
//! Bounds: [`MAX_CLIENTS`] at once, [`MAX_LINE`] octets a line. [`ask`] is the client's side.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::driver::Asked;
use crate::node::{Command, Reply};

/// Clients at once.
const MAX_CLIENTS: usize = 32;
/// Octets of one command.
const MAX_LINE: u64 = 64 << 10;

/// Listens at `path`; what is asked goes to `asked`.
pub(crate) fn listen(path: &Path, asked: mpsc::Sender<Asked>) -> io::Result<tokio::task::JoinHandle<()>> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another node is listening"));
    }
    match std::fs::symlink_metadata(path) {
        // What a node left behind that was killed.
        Ok(old) if old.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is no socket"));
        }
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        Err(why) => return Err(why),
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    let places = Arc::new(Semaphore::new(MAX_CLIENTS));
    Ok(tokio::spawn(async move {
        while let Ok(place) = places.clone().acquire_owned().await {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(why) => {
                    // Out of descriptors, most likely: the next try may do.
                    tracing::warn!(%why, "cannot accept on the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let asked = asked.clone();
            tokio::spawn(async move {
                // A client that goes away in the middle is its own affair.
                let _ = serve(stream, asked).await;
                drop(place);
            });
        }
    }))
}

async fn serve(stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = String::new();
        if (&mut read).take(MAX_LINE).read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = match serde_json::from_str::<Command>(&line) {
            Err(why) => json!({ "ok": false, "why": why.to_string() }),
            Ok(command) => {
                let (reply, replied) = oneshot::channel();
                let sent = asked.send(Asked::Command(command, reply)).await;
                match replied.await {
                    Ok(Reply::Done) if sent.is_ok() => json!({ "ok": true }),
                    Ok(Reply::Told(value)) if sent.is_ok() => json!({ "ok": true, "told": value }),
                    Ok(Reply::Failed(status)) => {
                        json!({ "ok": false, "why": format!("not delivered ({status})"), "sip": status })
                    }
                    Ok(Reply::Refused(why)) => json!({ "ok": false, "why": why }),
                    Ok(_) | Err(_) => json!({ "ok": false, "why": "the node is ending" }),
                }
            }
        };
        write.write_all(format!("{answer}\n").as_bytes()).await?;
    }
}

/// Asks the node at `path`; what it tells, or why it refuses.
pub fn ask(path: &Path, command: &Value) -> Result<Value, String> {
    use std::io::{BufRead as _, Write as _};
    let shown = path.display();
    let of = |why: io::Error| format!("{shown}: {why}");
    let mut stream = std::os::unix::net::UnixStream::connect(path).map_err(of)?;
    stream.write_all(format!("{command}\n").as_bytes()).map_err(of)?;
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).map_err(of)?;
    let answer: Value = serde_json::from_str(&line).map_err(|_| format!("{shown}: the node has ended"))?;
    if answer["ok"] == true {
        Ok(answer.get("told").cloned().unwrap_or(Value::Null))
    } else {
        Err(answer["why"].as_str().unwrap_or("refused").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("control");
        std::fs::write(&path, "precious").expect("written");
        let why = listen(&path, mpsc::channel(1).0).expect_err("a file is there");
        assert_eq!(why.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "precious");
        // A dead node's socket is none of that.
        std::fs::remove_file(&path).expect("removed");
        drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
        listen(&path, mpsc::channel(1).0).expect("it listens").abort();
    }
}
