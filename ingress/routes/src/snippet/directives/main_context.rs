//! Directives of nginx's main context, in `main-snippet`. None changes how requests are served.

use crate::snippet::Context;
use crate::snippet::directive::{Fate, SnippetDirective};

const fn without_effect(name: &'static str, doc: &'static str) -> SnippetDirective {
    let (arguments, contexts, fate) = ("…", &[Context::Main], Fate::WithoutEffect);
    SnippetDirective { name, arguments, contexts, elsewhere: None, protects: false, fate, doc }
}

const fn replaced(name: &'static str, doc: &'static str) -> SnippetDirective {
    SnippetDirective { contexts: &[], fate: Fate::Refused, ..without_effect(name, doc) }
}

const PROCESS: &str = "it sets up a process of nginx, which does not exist";
const CONTAINER: &str = "the process has the environment and the limits of its container";

pub(in crate::snippet) const MAIN: &[SnippetDirective] = &[
    without_effect("daemon", PROCESS),
    without_effect("debug_points", PROCESS),
    without_effect("env", CONTAINER),
    without_effect("lock_file", PROCESS),
    without_effect("master_process", PROCESS),
    without_effect("pcre_jit", "regular expressions are compiled anyway"),
    without_effect("pid", PROCESS),
    without_effect("ssl_object_cache_inheritable", PROCESS),
    without_effect("thread_pool", "no file is read for a response"),
    without_effect(
        "timer_resolution",
        "the clock is read ten times a second for timeouts, and exactly for the log",
    ),
    without_effect("user", CONTAINER),
    without_effect("worker_priority", CONTAINER),
    without_effect("worker_rlimit_core", CONTAINER),
    without_effect("working_directory", CONTAINER),
    replaced("events", "use the keys `max-worker-connections` and `worker-processes`"),
    replaced("google_perftools_profiles", "it is a profiler of nginx"),
    replaced("http", "use the key `http-snippet`"),
    replaced("mail", "there is no proxy for mail"),
    replaced("ssl_engine", "keys are in Secrets"),
    replaced("stream", "use the key `stream-snippet`"),
    replaced("worker_cpu_affinity", "the kernel places the workers"),
    replaced("worker_processes", "use the key `worker-processes`"),
    replaced("worker_rlimit_nofile", "the limit of open files is raised to the maximum"),
    replaced("worker_shutdown_timeout", "use the key `worker-shutdown-timeout`"),
];
