//! A server that webhooks are told to: it answers as a test says, badly too, and remembers what it was told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What it was told.
#[derive(Debug, Clone)]
pub struct Told {
    /// `POST /hook HTTP/1.1`.
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Told {
    /// The value of a header; its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// What it does then.
#[derive(Debug, Clone)]
#[allow(dead_code)] // each test has its own
pub enum Act {
    /// Answers with a status, headers (each line with its end) and a body.
    Answer(u16, &'static str, &'static str),
    /// Closes the connection, and says nothing.
    Close,
    /// Sends these bytes, and closes the connection.
    Break(&'static str),
    /// Says nothing, for as long as it is there.
    Hang,
    /// Does something later.
    Late(Duration, Box<Act>),
}

pub const OK: Act = Act::Answer(200, "", "");

/// Decides what to do, by what it was told and how many requests there were before.
type Decide = Arc<dyn Fn(&Told, usize) -> Act + Send + Sync>;

pub struct Receiver {
    address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    gone: Arc<AtomicBool>,
}

impl Receiver {
    pub fn start(decide: impl Fn(&Told, usize) -> Act + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, gone) = (Arc::<Mutex<Vec<Told>>>::default(), Arc::<AtomicBool>::default());
        let (decide, log, over): (Decide, _, _) = (Arc::new(decide), told.clone(), gone.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(stream), decide, log, over) = (stream, decide.clone(), log.clone(), over.clone())
                else {
                    continue;
                };
                thread::spawn(move || serve(stream, &decide, &log, &over));
            }
        });
        Receiver { address, told, gone }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// All that it was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until it was told so much.
    #[allow(dead_code)] // each test has its own
    pub fn wait(&self, enough: impl Fn(&[Told]) -> bool) -> Vec<Told> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let told = self.told();
            if enough(&told) {
                return told;
            }
            assert!(Instant::now() < end, "it was told {} times: {told:#?}", told.len());
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        // Whoever waits for the next connection gets one.
        let _ = TcpStream::connect(self.address);
    }
}

/// One connection, as long as both want it.
fn serve(stream: TcpStream, decide: &Decide, log: &Mutex<Vec<Told>>, over: &AtomicBool) {
    let mut reader = BufReader::new(stream);
    while let Some(told) = read(&mut reader) {
        let before = {
            let mut log = log.lock().unwrap();
            log.push(told.clone());
            log.len() - 1
        };
        let mut act = decide(&told, before);
        while let Act::Late(how_long, then) = act {
            thread::sleep(how_long);
            act = *then;
        }
        let bytes = match act {
            Act::Answer(status, headers, body) => {
                format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
            }
            Act::Break(bytes) => {
                let _ = reader.get_mut().write_all(bytes.as_bytes());
                return;
            }
            Act::Hang => {
                while !over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                return;
            }
            Act::Close | Act::Late(..) => return,
        };
        if reader.get_mut().write_all(bytes.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Told> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let told = Told { line: line.trim_end().to_owned(), headers, body: String::new() };
    let mut body = vec![0; told.header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Told { body: String::from_utf8(body).ok()?, ..told })
}
