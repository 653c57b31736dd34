//! Debian's Chromium without a window, driven over the DevTools protocol: JSON messages that end with a zero byte, through pipes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::wait;

/// How long the browser may take for one command, and a page for what is waited for.
const LIMIT: Duration = Duration::from_secs(30);

/// The program.
const CHROMIUM: &str = "chromium";

/// Whether the browser is installed. The error says what to install.
pub fn check_package() -> Result<(), String> {
    let found = Command::new(CHROMIUM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => Ok(()),
        _ => Err("chromium does not run; Debian's package `chromium` has it".to_owned()),
    }
}

/// A browser with one page. Dropping it ends the browser.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    /// Errors of scripts, and what the content security policy has refused.
    complaints: Vec<String>,
}

impl Browser {
    /// Starts the browser with its profile in a folder. It accepts every certificate and finds `*.localhost` on the loopback interface.
    pub fn start(folder: &Path) -> Browser {
        Browser::start_with(&folder.join("browser"), "--ignore-certificate-errors")
    }

    /// Starts a browser with this profile that trusts certificates with this public key, as if an authority had signed them. It does not
    /// try https on its own.
    ///
    /// `key`: SHA-256 of the SubjectPublicKeyInfo in base64. `hosts`: rules such as `MAP shop.example:443 127.0.0.1:8443`.
    pub fn start_trusting(profile: &Path, key: &str, hosts: &str) -> Browser {
        let flags = format!(
            "--ignore-certificate-errors-spki-list='{key}' --host-resolver-rules='{hosts}' \
             --disable-features=HttpsUpgrades,HttpsFirstBalancedMode,HttpsFirstBalancedModeAutoEnable"
        );
        Browser::start_with(profile, &flags)
    }

    fn start_with(profile: &Path, flags: &str) -> Browser {
        // DevTools' pipe is file descriptors 3 and 4.
        let line = format!(
            "exec {CHROMIUM} --headless=new --no-sandbox --disable-gpu --hide-scrollbars --no-first-run {flags} \
             --disable-background-networking --window-size=1280,1600 --user-data-dir='{}' --remote-debugging-pipe about:blank \
             3<&0 4>&1 </dev/null >/dev/null 2>&1",
            profile.display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let commands = child.stdin.take().expect("it is a pipe");
        let output = child.stdout.take().expect("it is a pipe");
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in read_messages(output) {
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser =
            Browser { child, commands, messages, session: String::new(), last: 0, complaints: Vec::new() };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Sends a command of the DevTools protocol and returns its result.
    #[track_caller]
    pub fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last += 1;
        let mut command = json!({ "id": self.last, "method": method, "params": parameters });
        if !self.session.is_empty() {
            command["sessionId"] = self.session.clone().into();
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes());
        sent.unwrap_or_else(|error| panic!("the browser is gone: {error}"));
        loop {
            let message = self.messages.recv_timeout(LIMIT);
            let message = message.unwrap_or_else(|error| panic!("{method}: no answer: {error}"));
            if message["id"] == self.last {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
            let is_complaint = message["method"] == "Runtime.exceptionThrown"
                || message["method"] == "Log.entryAdded"
                    && message["params"]["entry"]["source"] == "security";
            if is_complaint {
                self.complaints.push(message["params"].to_string());
            }
        }
    }

    /// Opens a page and waits until it is loaded.
    #[track_caller]
    pub fn open(&mut self, url: &str) {
        let opened = self.call("Page.navigate", json!({ "url": url }));
        assert!(opened["errorText"].is_null(), "{url}: {opened}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// The value of an expression; a promise is awaited.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        wait::until(expression, LIMIT, || match self.evaluate(expression) {
            Value::Bool(true) => Ok(()),
            other => Err(other.to_string()),
        });
    }

    /// The text of the element with this id.
    #[track_caller]
    pub fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses and releases a key, such as `Tab`.
    pub fn press(&mut self, key: &str, code: u8) {
        for kind in ["keyDown", "keyUp"] {
            let text = if key == "Enter" { "\r" } else { "" };
            self.call(
                "Input.dispatchKeyEvent",
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text }),
            );
        }
    }

    /// Writes a PNG of the page to the folder in `PORTOLAN_SCREENSHOTS`, if it is set.
    pub fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("PORTOLAN_SCREENSHOTS") else { return };
        let shot = self.call("Page.captureScreenshot", json!({ "captureBeyondViewport": true }));
        let data = shot["data"].as_str().expect("an image");
        let image = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).expect("base64");
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), image)
            .expect("the folder is writable");
    }

    /// Errors of scripts, and what the content security policy has refused, since the last time.
    pub fn take_complaints(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_messages(output: ChildStdout) -> impl Iterator<Item = Value> {
    let messages = BufReader::new(output).split(0).map_while(Result::ok);
    messages.filter_map(|message| serde_json::from_slice(&message).ok())
}
