//! The processes of one browser: a chromedriver on a port of its own, and the folder that it and its browser
//! keep everything in. Ends them all and removes the folder, however the test ends. Knows of no page.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Only what hangs reaches this.
const DEADLINE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Becomes chromedriver. What it leaves beside that ends all of its group, and removes the folder, once the
/// other end of its input has gone: a run of tests that is killed drops nothing.
const START: &str = r#"
exec 3<&0 </dev/null
{ read -r _ <&3; trap "" TERM; kill -TERM 0; sleep 1; rm -rf -- "$2"; kill -KILL 0; } &
exec "$1" --port=0 3<&-
"#;

pub struct Driver {
    /// Its input has to stay open.
    process: Child,
    home: tempfile::TempDir,
    port: u16,
}

impl Driver {
    pub fn start() -> Self {
        let home = tempfile::Builder::new().prefix("benchlet-browser-").tempdir().unwrap();
        let folder = home.path();
        fs::create_dir(folder.join("tmp")).unwrap();
        let log = File::create(folder.join("log")).unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", START, "sh"]).arg(chromedriver()).arg(folder);
        command.current_dir(folder).process_group(0);
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        // Nothing of the user's: no proxy, no display, no language, no time zone, no place to write to.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", folder).env("TMPDIR", folder.join("tmp"));
        command.env("LANG", "C.UTF-8").env("LANGUAGE", "en").env("TZ", "UTC");
        let process = command.spawn().unwrap();
        let mut driver = Self { process, home, port: 0 };
        driver.port = driver.listens();
        driver
    }

    /// Waits for the port.
    fn listens(&mut self) -> u16 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            let port = log
                .lines()
                .find_map(|line| line.split_once("started successfully on port ")?.1.strip_suffix('.'));
            if let Some(port) = port {
                return port.parse().unwrap();
            }
            let ended = self.process.try_wait().unwrap();
            let in_time = Instant::now() < deadline;
            assert!(
                in_time && ended.is_none(),
                "{} does not start ({ended:?}):\n{log}",
                chromedriver().display()
            );
            std::thread::sleep(LOOK);
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that these processes write is below.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What chromedriver has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home().join("log")).unwrap_or_default()
    }

    /// The pid of chromedriver, which is the id of its process group as well.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let group = self.pid();
        let _ = kill_process_group(group, Signal::KILL);
        // Closes its input; by now nobody listens there.
        let _ = self.process.wait();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = living(group, self.home());
            if left.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                eprintln!("processes of the browser in {} are left", self.home().display());
                return;
            }
            // The reporters of crashes have left the group. They end with their browser, or now.
            for pid in left.into_iter().filter(|pid| is_told_of(*pid, self.home())) {
                let _ = kill_process(pid, Signal::KILL);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// What runs in a process group or was told of a folder. The dead that nobody has waited for do not count.
pub fn living(group: Pid, home: &Path) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: state, parent, group.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let [state, _, its_group, ..] = fields[..] else { return false };
        !matches!(state, "Z" | "X") && (its_group == group.to_string() || is_told_of(*pid, home))
    })
    .collect()
}

fn is_told_of(pid: Pid, home: &Path) -> bool {
    ["cmdline", "environ"].iter().any(|file| {
        let told = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        String::from_utf8_lossy(&told).contains(&*home.to_string_lossy())
    })
}

/// The browser that `tests/run` has found.
pub fn browser() -> PathBuf {
    program("BENCHLET_TEST_BROWSER", "/usr/bin/chromium")
}

fn chromedriver() -> PathBuf {
    program("BENCHLET_TEST_CHROMEDRIVER", "/usr/bin/chromedriver")
}

fn program(variable: &str, usual: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing; tests/run gets it, and BENCHLET_TEST_WITHOUT=browser leaves these tests out",
        path.display(),
    );
    path
}
