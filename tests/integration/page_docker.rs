//! The whole story on the page with the real llama.cpp: from the login to the applied configuration and the
//! restarted service.

use serde_json::json;

use crate::daemon;
use crate::page::Visit;
use crate::workbench::{Workbench, tiny_model};

#[test]
fn from_the_login_to_the_applied_configuration_and_the_restarted_service() {
    let Some(bench) = Workbench::open() else { return };
    if std::env::var("BENCHLET_TEST_COMPOSE").is_ok_and(|path| path.is_empty()) {
        eprintln!("not possible: no compose plugin, as tests/run has said");
        return;
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // The host's network, because a test machine may have no bridge.
    bench.add_service(
        "guessed",
        &format!(
            "    image: {}\n    network_mode: host\n    init: true\n    entrypoint: [llama-server]\n    ports: \
             ['{port}:{port}']\n    volumes: ['{}:/models/tiny.gguf:ro']\n    # the batch size was somebody's \
             guess\n    command: [-m, /models/tiny.gguf, -b, '32', -t, '1', --host, 127.0.0.1, --port, '{port}']\n",
            daemon::image(),
            tiny_model()
        ),
    );
    let compose = bench.path("docker-compose.yml");
    let before = std::fs::read_to_string(&compose).unwrap();
    let up = std::process::Command::new("docker")
        .args(["compose", "-f", compose.to_str().unwrap(), "up", "-d", "guessed"])
        .output()
        .expect("docker; see tests/run");
    assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
    let Some(mut visit) = Visit::begin(bench) else { return };
    let browser = &visit.browser;
    browser.wait_text("[data-service=guessed]", "running");
    browser.click("[data-service=guessed] a.main");
    browser.wait_text(".command", "llama-bench");
    browser.wait_text(".command", "-b 32");
    browser.type_into(".parameter:first-child input:nth-child(2)", "32,256");
    visit.add_parameter("-ub", "32");
    browser.wait_text(".command", "-b 32,256");
    browser.wait_text(".command", "-ub 32");
    browser.click_text("button", "Run");
    browser.wait_text(".output", "\"avg_ts\"");
    browser.wait_text(".runs tbody tr", "completed");
    browser.wait_text(".runs tbody tr", "several");

    browser.click_text(".runs button", "Apply");
    browser.wait_for("#apply-case");
    browser.script(
        "const list = document.querySelector('#apply-case');
        list.value = [...list.options].find((each) => each.text.includes('tg') && each.text.includes('n_batch=256')).value",
    );
    browser.click_text("dialog button", "Show the changes");
    browser.wait_text("dialog .changes", "-b");
    let rows = browser.texts("dialog .changes tbody tr");
    assert!(
        rows.iter().any(|row| row.contains("-b") && row.contains("32") && row.contains("256")),
        "{rows:?}"
    );
    assert_eq!(std::fs::read_to_string(&compose).unwrap(), before, "nothing changes before the answer");
    browser.click_text("dialog button", "Apply");
    browser.wait_text(".toast:last-child", "of guessed changed.");
    let after = std::fs::read_to_string(&compose).unwrap();
    assert!(
        after.contains("-b, '256'") && after.contains("# the batch size was somebody's guess"),
        "{after}"
    );
    browser.wait_text("dialog h2", "A restart is needed");
    browser.click_text("dialog button", "Restart now");
    browser.wait_text(".toast:last-child", "The container of guessed has the new configuration.");
    let project = visit.bench.project();
    let container = &daemon::labelled("com.docker.compose.project", &project)[0];
    let arguments = daemon::inspect(&container.id).args.unwrap();
    assert!(arguments.windows(2).any(|pair| pair == ["-b", "256"]), "{arguments:?}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(), "it serves again");
    let run = visit.client.get("/api/benchmarks?kind=LlamaBench").json()["runs"][0].clone();
    assert_eq!(run["simulated"], json!(false));

    // The page, the API, the command line and the files tell the same.
    let request = run["request"].as_str().unwrap();
    visit.bench.until("the request's file", |bench| {
        bench.request_path(&format!("api/{request}.yaml")).exists().then_some(())
    });
    visit.go(&format!("/runs/{}", run["id"].as_str().unwrap()));
    let browser = &visit.browser;
    browser.wait_text("main", "n_batch=256");
    browser.click_text("button", "Pin as baseline");
    browser.click_text("dialog button", "Pin");
    browser.wait_text(".toast:last-child", "aseline main");
    browser.wait_text(".head", "baseline");
    let listed = visit.bench.command(&["baseline", "list", "-o", "json"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stdout).contains(run["id"].as_str().unwrap()));
}
