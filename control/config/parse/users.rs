// SPDX-License-Identifier: MIT OR Apache-2.0
//! `username NAME ...` and `enable password ...`. A password that is typed stays in the clear until the
//! configuration comes into force: hashing is slow on purpose, and a line may be read without being done.

use crate::config::args::{Args, Env};
use crate::config::diag::Problem;
use crate::config::model::users::{ADMIN, LENGTH, OPERATOR, PRIVILEGE, Password, User};
use crate::config::raw::Command;

type Parsed = Result<Command, Problem>;

/// `username NAME {nopassword | password PASSWORD [pbkdf2]} [privilege LEVEL | role ROLE]`
pub fn username(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    let name = args.name("a user's name")?;
    // `no username NAME` takes the user out, whatever the rest of the line was.
    if args.is_negated() {
        while args.peek().is_some() {
            args.take("the rest")?;
        }
        return Ok(Command::Username(name, None));
    }
    if args.accept("attributes") {
        args.remark(
            args.wrong("`username ... attributes` has no effect")
                .help("what a user may do is said by `privilege`"),
        );
        return Ok(Command::Idle);
    }
    let password = match args.one_of(&["nopassword", "password"])? {
        0 => None,
        _ => match password(args)? {
            Some(password) => Some(password),
            None => {
                privilege(args)?;
                return Ok(Command::Idle);
            }
        },
    };
    Ok(Command::Username(name, Some(User { password, privilege: privilege(args)? })))
}

/// `enable password PASSWORD [pbkdf2] [level 15]`
pub fn enable_password(args: &mut Args<'_, '_>, _: &Env<'_>) -> Parsed {
    if args.is_bare_no() {
        return Ok(Command::EnablePassword(None));
    }
    let password = password(args)?;
    if args.accept("level") {
        args.number("15, the only level that has a password", 15, 15)?;
    }
    Ok(password.map_or(Command::Idle, |password| Command::EnablePassword(Some(password))))
}

/// A password, in the clear or hashed; `None` for an old hash that cannot be checked, which is remarked.
fn password(args: &mut Args<'_, '_>) -> Result<Option<Password>, Problem> {
    let word = args.take("a password")?.text.to_owned();
    if args.accept("encrypted") {
        let remark = args.wrong("an `encrypted` password (MD5) cannot be checked: nobody can log in by it");
        args.remark(remark.help("say it anew in the clear; it is kept as a hash"));
        return Ok(None);
    }
    if args.accept("pbkdf2") {
        return word.parse().map(|hash| Some(Password::Hashed(hash))).map_err(|why: &str| args.wrong(why));
    }
    if !LENGTH.contains(&word.len()) {
        return Err(args.wrong("a password has 3 to 127 characters"));
    }
    Ok(Some(Password::Clear(word)))
}

fn privilege(args: &mut Args<'_, '_>) -> Result<u8, Problem> {
    if args.accept("privilege") {
        return Ok(args.number("a privilege level", 0, u32::from(ADMIN))? as u8);
    }
    if args.accept("role") {
        let role = args.one_of(&["admin", "operator", "read-only"])?;
        return Ok([ADMIN, OPERATOR, 1][role]);
    }
    Ok(PRIVILEGE)
}
