//! A loopback registry that answers as it is told: it speaks just enough HTTP/1.1 to be wrong in
//! every way that a real server may be.
//!
//! A test scripts a list of answers for each `METHOD path`; each request takes the next, and the
//! last one stays. Every request is recorded with its headers.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// One scripted answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    fault: Fault,
}

/// What goes wrong while an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// No more bytes come after so many bytes of the body, though the connection stays.
    Stall(usize),
    /// The body is sent in chunks, without a length.
    Chunked,
    /// The connection ends without an answer.
    Hangup,
    /// The connection ends after so many bytes of the request's body.
    CutRequest(usize),
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            fault: Fault::Nothing,
        }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            ..Self::status(200)
        }
    }

    /// The part of `whole` from `first` on, as a server gives it that knows ranges.
    pub(crate) fn partial(whole: &[u8], first: usize) -> Self {
        let range = format!("bytes {first}-{}/{}", whole.len() - 1, whole.len());
        Self {
            body: whole[first..].to_vec(),
            ..Self::status(206)
        }
        .header("Content-Range", range)
    }

    pub(crate) fn redirect(location: impl Into<String>) -> Self {
        Self::status(307).header("Location", location)
    }

    /// A refusal with a message as the distribution spec has it.
    pub(crate) fn refusal(status: u16, message: &str) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"X","message":"{message}"}}]}}"#);
        Self {
            body: body.into_bytes(),
            ..Self::status(status)
        }
    }

    pub(crate) fn hangup() -> Self {
        Self {
            fault: Fault::Hangup,
            ..Self::status(200)
        }
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    #[must_use]
    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self {
            fault: Fault::Cut(bytes),
            ..self
        }
    }

    #[must_use]
    pub(crate) fn cut_request(self, bytes: usize) -> Self {
        Self {
            fault: Fault::CutRequest(bytes),
            ..self
        }
    }

    #[must_use]
    pub(crate) fn stall_after(self, bytes: usize) -> Self {
        Self {
            fault: Fault::Stall(bytes),
            ..self
        }
    }

    #[must_use]
    pub(crate) fn chunked(self) -> Self {
        Self {
            fault: Fault::Chunked,
            ..self
        }
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// The path, with its query.
    pub(crate) path: String,
    headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A running server; it lives as long as the test process.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, Vec<Answer>>,
    requests: Vec<Request>,
    connections: usize,
}

impl Registry {
    pub(crate) fn start() -> Self {
        Self::with_tls(None)
    }

    /// Starts a server that speaks TLS where it is told how.
    pub(crate) fn with_tls(tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Self {
            address: listener.local_addr().unwrap(),
            tls,
            state: Arc::default(),
        };
        let server = registry.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
        registry
    }

    /// The host and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// The URL of a path on this server.
    pub(crate) fn url(&self, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    /// Scripts the answers to `METHOD path`, where the path may have a query. A path without one
    /// also stands for the same path with any query. With ` with authorization` behind it, a line
    /// stands only for requests that say who the user is.
    pub(crate) fn on(&self, line: &str, answers: impl Into<Vec<Answer>>) -> &Self {
        self.state
            .lock()
            .unwrap()
            .scripts
            .insert(line.to_owned(), answers.into());
        self
    }

    /// All requests so far, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The method and path of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().iter().map(Request::line).collect()
    }

    /// How many connections there were so far, also those without a request.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    fn serve(&self, stream: TcpStream) {
        self.state.lock().unwrap().connections += 1;
        let plain = stream.try_clone().unwrap();
        match &self.tls {
            None => self.talk(BufReader::new(stream)),
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(tls)).unwrap();
                self.talk(BufReader::new(StreamOwned::new(connection, stream)));
            }
        }
        // The peer may have closed first.
        drop(plain.shutdown(Shutdown::Both));
    }

    fn talk(&self, mut stream: BufReader<impl Read + Write>) {
        while let Some(request) = read_request(&mut stream) {
            let is_head = request.method == "HEAD";
            let answer = self.take(request, &mut stream);
            if !send(stream.get_mut(), &answer, is_head) {
                break;
            }
        }
    }

    /// Chooses the answer, and reads as much of the request's body as that wants.
    fn take(&self, request: Request, reader: &mut impl Read) -> Answer {
        let length = request.header("content-length");
        let length = length.map_or(0, |length| length.parse().unwrap());
        let (answer, number) = self.choose(request);
        let wanted = match answer.fault {
            Fault::CutRequest(bytes) => length.min(bytes),
            _ => length,
        };
        let mut body = vec![0; wanted];
        // A client that has given up sends no more.
        if reader.read_exact(&mut body).is_ok() {
            let body = String::from_utf8(body).unwrap();
            self.state.lock().unwrap().requests[number].body = body;
        }
        answer
    }

    /// Returns the answer to a request, and the number of the request.
    fn choose(&self, request: Request) -> (Answer, usize) {
        let mut state = self.state.lock().unwrap();
        let full = request.line();
        let bare = full.split('?').next().unwrap_or_default().to_owned();
        let authorized = format!("{full} with authorization");
        let is_authorized = request.header("authorization").is_some();
        state.requests.push(request);
        let key = if is_authorized && state.scripts.contains_key(&authorized) {
            authorized
        } else if state.scripts.contains_key(&full) {
            full
        } else {
            bare
        };
        let number = state.requests.len() - 1;
        let answer = match state.scripts.get_mut(&key) {
            None => Answer::refusal(404, "not scripted"),
            Some(answers) if answers.len() > 1 => answers.remove(0),
            Some(answers) => answers[0].clone(),
        };
        (answer, number)
    }
}

/// Reads a request but for its body.
fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    Some(Request {
        method,
        path,
        headers,
        body: String::new(),
    })
}

/// Sends an answer; says whether the connection can be used again.
fn send(stream: &mut impl Write, answer: &Answer, is_head: bool) -> bool {
    if matches!(answer.fault, Fault::Hangup | Fault::CutRequest(_)) {
        return false;
    }
    let mut head = vec![format!("HTTP/1.1 {} X", answer.status)];
    let names_length = answer
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if answer.fault == Fault::Chunked {
        head.push("Transfer-Encoding: chunked".to_owned());
    } else if !names_length {
        head.push(format!("Content-Length: {}", answer.body.len()));
    }
    head.extend(
        answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    let mut bytes = format!("{}\r\n\r\n", head.join("\r\n")).into_bytes();
    if !is_head {
        bytes.extend(body_of(answer));
    }
    // A client that has seen enough may be gone.
    if stream
        .write_all(&bytes)
        .and_then(|()| stream.flush())
        .is_err()
    {
        return false;
    }
    if let (Fault::Stall(_), false) = (answer.fault, is_head) {
        std::thread::sleep(Duration::from_secs(5));
    }
    is_head || matches!(answer.fault, Fault::Nothing | Fault::Chunked) && !names_length
}

fn body_of(answer: &Answer) -> Vec<u8> {
    match answer.fault {
        Fault::Cut(bytes) | Fault::Stall(bytes) => answer.body[..bytes].to_vec(),
        Fault::Chunked => {
            let mut chunked = Vec::new();
            for piece in answer.body.chunks(1000) {
                chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                chunked.extend(piece);
                chunked.extend(b"\r\n");
            }
            chunked.extend(b"0\r\n\r\n");
            chunked
        }
        Fault::Nothing | Fault::Hangup | Fault::CutRequest(_) => answer.body.clone(),
    }
}
