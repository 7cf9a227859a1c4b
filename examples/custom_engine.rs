//! A small server that speaks JSON in a way of its own, for trying out `[engines.NAME]` of the settings:
//! `examples/custom-engine/` measures it. It repeats words of the prompt, a piece every 5 ms.
//!
//! `POST /generate {"input": "…", "limit": 16}` answers a JSON value a line, `{"out": {"piece": "word "}}`, and
//! in the last `{"out": {"piece": ""}, "done": "limit", "count": {"read": 9, "written": 16}}`. `GET /ready` says
//! that it is there.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

/// From one piece to the next.
const PACE: Duration = Duration::from_millis(5);
/// Pieces, where a request names no limit.
const USUAL: u64 = 16;

fn main() -> ExitCode {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9000".to_owned());
    match serve(&address) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed terminal is no reason to say more.
            drop(writeln!(io::stderr(), "{address}: {error}; name another address as the first argument"));
            ExitCode::FAILURE
        }
    }
}

fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    io::stdout().flush()?;
    for connection in listener.incoming() {
        let connection = connection?;
        std::thread::spawn(move || {
            // Whoever measures may leave in the middle.
            drop(converse(&connection));
        });
    }
    Ok(())
}

/// Answers requests until the client ends the connection.
fn converse(connection: &TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    let mut writer = connection;
    while let Some((line, body)) = request(&mut reader)? {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["GET", "/ready", ..] => whole(&mut writer, 200, &json!({ "ready": true }))?,
            ["POST", "/generate", ..] => match serde_json::from_slice::<Value>(&body) {
                Ok(asked) => generate(&mut writer, &asked)?,
                Err(error) => whole(&mut writer, 400, &json!({ "error": error.to_string() }))?,
            },
            _ => whole(&mut writer, 404, &json!({ "error": "there is only /ready and /generate" }))?,
        }
    }
    Ok(())
}

/// The request line and the body; `None` where the client has ended the connection.
fn request(reader: &mut BufReader<&TcpStream>) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut first = String::new();
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        match header.trim().split_once(':') {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().unwrap_or(0);
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((first, body)))
}

fn whole(writer: &mut impl Write, status: u16, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    writer.write_all((head + &body).as_bytes())
}

fn generate(writer: &mut impl Write, asked: &Value) -> io::Result<()> {
    let words: Vec<&str> = asked["input"].as_str().unwrap_or_default().split_whitespace().collect();
    let limit = asked["limit"].as_u64().unwrap_or(USUAL);
    writer.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    for number in 0..limit {
        std::thread::sleep(PACE);
        let word = words.get(number as usize % words.len().max(1)).copied().unwrap_or("word");
        line(writer, &json!({ "out": { "piece": format!("{word} ") } }))?;
    }
    let count = json!({ "read": words.len(), "written": limit });
    line(writer, &json!({ "out": { "piece": "" }, "done": "limit", "count": count }))?;
    writer.write_all(b"0\r\n\r\n")
}

/// A JSON value as a line, and the line as a chunk.
fn line(writer: &mut impl Write, value: &Value) -> io::Result<()> {
    let text = format!("{value}\n");
    writer.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
}
