//! Servers of NATS, for a test: on 127.0.0.1 alone, on ports that are free, with their files in a temporary folder. They end with the test, also
//! where it fails.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

/// The program; none where it cannot be had.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = PROGRAM.get_or_init(|| {
        let install = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nats/install");
        let told = Command::new(install).stderr(Stdio::inherit()).output().ok()?;
        let path = String::from_utf8(told.stdout).ok()?;
        let path = path.trim();
        (!path.is_empty()).then(|| PathBuf::from(path))
    });
    found.as_deref()
}

/// Some servers that belong together.
pub struct Servers {
    servers: Vec<Server>,
    _folder: TempDir,
}

struct Server {
    config: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Servers {
    /// So many, which wait for their disks before they acknowledge; none where the program cannot be had, and then it is said.
    pub fn start(count: usize) -> Option<Servers> {
        let Some(program) = program() else {
            assert!(std::env::var_os("BYGONE_NATS_REQUIRED").is_none(), "there is no server of NATS");
            println!("nats: skipped, there is no server");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let ports: Vec<[u16; 2]> = free_ports(count * 2).chunks(2).map(|two| [two[0], two[1]]).collect();
        let routes: Vec<String> =
            ports.iter().map(|[_, route]| format!("nats://127.0.0.1:{route}")).collect();
        let servers = ports.iter().zip(1..).map(|([port, route], number)| {
            let config = folder.path().join(format!("n{number}.conf"));
            let store = folder.path().join(format!("n{number}"));
            let mut text = format!(
                "server_name: n{number}\nlisten: 127.0.0.1:{port}\n\
                 jetstream {{ store_dir: '{}', sync_interval: always, max_file_store: 2G, max_memory_store: 64M }}\n",
                store.display()
            );
            if count > 1 {
                let routes = routes.join(", ");
                text += &format!(
                    "cluster {{ name: test, listen: 127.0.0.1:{route}, routes: [{routes}], connect_retries: 1000 }}\n"
                );
            }
            fs::write(&config, text).unwrap();
            Server { config, port: *port, process: None }
        });
        let mut servers = Servers { servers: servers.collect(), _folder: folder };
        for server in &mut servers.servers {
            server.begin(program);
        }
        servers.servers.iter().for_each(Server::wait);
        Some(servers)
    }

    /// The address of a stream on them.
    pub fn log(&self, stream: &str) -> String {
        let servers: Vec<_> =
            self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let trial = if servers.len() < 3 { "&replicas=1" } else { "" };
        format!("nats://{}/{stream}?sync=trusted{trial}", servers.join(","))
    }

    /// Kills one, at once.
    pub fn kill(&mut self, at: usize) {
        self.servers[at].end();
    }

    /// Starts one that was killed.
    pub fn restart(&mut self, at: usize) {
        self.servers[at].begin(program().unwrap());
        self.servers[at].wait();
    }

    /// Sends one a signal.
    pub fn signal(&self, at: usize, signal: rustix::process::Signal) {
        let id = self.servers[at].process.as_ref().unwrap().id();
        let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Which of them leads a stream; waits until one does.
    pub fn leader(&self, stream: &str) -> usize {
        let until = Instant::now() + LONG;
        loop {
            let told = self.ask(&format!("$JS.API.STREAM.INFO.{stream}"), "");
            let name = told["cluster"]["leader"].as_str().and_then(|name| name.strip_prefix('n'));
            if let Some(number) = name.and_then(|name| name.parse::<usize>().ok()) {
                return number - 1;
            }
            assert!(Instant::now() < until, "{stream} has no leader: {told}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Asks one that is there, by the protocol of NATS; nothing where there is no answer.
    pub fn ask(&self, subject: &str, payload: &str) -> Value {
        let running = self.servers.iter().filter(|server| server.process.is_some());
        running
            .map(|server| ask(server.port, subject, payload))
            .find(|told| !told.is_null())
            .unwrap_or_default()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.servers.iter_mut().for_each(Server::end);
    }
}

impl Server {
    fn begin(&mut self, program: &Path) {
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
    }

    fn wait(&self) {
        let until = Instant::now() + LONG;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < until, "the server on port {} does not begin", self.port);
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Ports that nobody listens on.
fn free_ports(count: usize) -> Vec<u16> {
    let listening: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listening.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn ask(port: u16, subject: &str, payload: &str) -> Value {
    let asked = || -> std::io::Result<Value> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let (mut to, mut from) = (stream.try_clone()?, BufReader::new(stream));
        let mut line = String::new();
        from.read_line(&mut line)?;
        let length = payload.len();
        write!(
            to,
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\nSUB told 1\r\nPUB {subject} told {length}\r\n{payload}\r\n"
        )?;
        loop {
            line.clear();
            if from.read_line(&mut line)? == 0 {
                return Ok(Value::Null);
            }
            let words: Vec<_> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PING"] => to.write_all(b"PONG\r\n")?,
                ["MSG", .., length] => {
                    let mut answer = vec![0; length.parse().unwrap()];
                    from.read_exact(&mut answer)?;
                    return Ok(serde_json::from_slice(&answer).unwrap());
                }
                ["HMSG", ..] => return Ok(Value::Null),
                _ => {}
            }
        }
    };
    asked().unwrap_or_default()
}
