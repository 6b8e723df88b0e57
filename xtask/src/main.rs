//! Development tasks of Outrigger: the demo, the tests, the embedded cluster, the images, the generated files,
//! benchmarks and fuzzing.

mod args;
mod bench;
mod cluster;
mod demo;
mod fuzz;
mod generate;
mod hash;
mod images;
mod report;
mod sh;
mod supply;
mod target;
mod test;
mod tools;
mod workspace;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use args::{Args, Usage, unknown};
use cluster::Cluster;
use target::Target;
use tools::{KubernetesVersion, Tools};

const HELP: &str = "\
Usage: cargo xtask <COMMAND>

Commands:
  demo                      install Outrigger in a real cluster and show what it does
  test [STEP…]              every check and every test, as CI runs them; --keep leaves the cluster up
  test e2e [NAME]           only the tests in the cluster, or those with this name; likewise unit
  test compat               the chart and the most version-dependent tests in a cluster of the oldest and then of the
                            newest version of Kubernetes; --kubernetes VERSION: only of that one
  cluster up | down         start or remove the embedded Kubernetes cluster; up --kubernetes VERSION: in that version, one
                            of the folders in e2e/kubernetes/kube (default: the newest)
  cluster status            say whether it is up, and where its kubeconfig and logs are
  cluster kubectl ARGS…     kubectl for it
  cluster load TAR…         put the images of archives into it
  cluster stop | start PROGRAM
                            end one of its programs (etcd, kube-apiserver, …), or let it be started again
  cluster signal KILL|TERM|STOP|CONT PROGRAM
                            send a signal to processes of it and of its containers; --first: to the oldest
  cluster etcd save | restore
                            copy the data of its etcd, or put the copy back, so that resource versions go backwards
                            (--name NAME with any of these but kubectl: another cluster of this checkout)
  images [FOLDER…]          build all container images, or those of these folders in e2e/images
  generate [--check]        write the generated files, or fail if they are stale
  bench engine              what an answer costs, in time and allocations
  bench serve [--soak N]    what serving costs beside a bare server, in processor time, latency and memory; with a soak
                            of N seconds (also --rounds N, --seconds N of each, --target TRIPLE, the image's being
                            x86_64-unknown-linux-musl)
  bench cli                 what reading 10,000 Deployments costs the command line, in processor time and memory
  bench catalogue [NAME]    what the catalogue's profiles cost a pod, in seconds at its start and in memory
  chaos [NAME…]             make faults on purpose, or those whose tests have this name, and print what became of the pods
  chaos --random SECONDS    make random combinations of faults for that time; --seed N: the same ones again
  deny [--advisories]       check the dependencies' licences and sources; with RustSec's advisories, which are fetched
  sbom                      write what the image's program is made of, as a CycloneDX document
  fuzz [TARGET…]            look for inputs that break expression, profile and review, --seconds N each (60)

chaos, demo and test take --kubernetes VERSION as well, or, to use a cluster that is already there:
  --kubeconfig FILE         also OUTRIGGER_KUBECONFIG
  --load 'CMD {}'           how images get there: a command for each archive, as in 'kind load image-archive {}'
  --registry HOST/PATH      or: a registry to push them to, which the cluster can pull from
                            (also OUTRIGGER_LOAD and OUTRIGGER_REGISTRY)
  OUTRIGGER_AUDIT_LOG=FILE  its API server's audit log, at level Metadata: some of the tests read it
";

const COMMANDS: [&str; 11] =
    ["chaos", "demo", "test", "cluster", "images", "generate", "bench", "deny", "fuzz", "sbom", "help"];

fn main() -> ExitCode {
    report::start_clock();
    if let Some(path) = workspace::path_with_administrators_programs() {
        let again = std::env::current_exe().map(|program| {
            std::process::Command::new(program).args(std::env::args_os().skip(1)).env("PATH", path).exec()
        });
        report::note(format_args!("error: cannot start again with a longer PATH: {again:?}"));
        return ExitCode::FAILURE;
    }
    match dispatch(Args::from_process()) {
        Ok(code) => code,
        Err(error) if error.is::<Usage>() => {
            report::note(format_args!("error: {error}\n\n{HELP}"));
            ExitCode::from(2)
        }
        Err(error) => {
            report::note(format_args!("\nerror: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(mut args: Args) -> Result<ExitCode> {
    let Some(command) = args.next() else {
        report::say(HELP.trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    // kubectl's own words are left alone.
    if command != "cluster" && (args.switch("--help") || args.switch("-h")) {
        report::say(HELP.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    match command.as_str() {
        cluster::ENTER => return cluster::node::enter(Path::new(&args.next().unwrap_or_default())),
        cluster::INIT => return cluster::node::init(Path::new(&args.next().unwrap_or_default())),
        cluster::NODE => return cluster::node::run(Path::new(&args.next().unwrap_or_default())),
        "demo" => {
            let target = Target::from_args(&mut args)?;
            args.end(&["--kubeconfig", "--kubernetes", "--load", "--registry"])?;
            demo::run(&target)?;
        }
        "cluster" => cluster_command(args)?,
        "images" => {
            tools::install_packages()?;
            images::build(&args.rest())?;
        }
        "test" => return Ok(if test::run(args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        "generate" => {
            let check = args.switch("--check");
            args.end(&["--check"])?;
            if check { generate::check()? } else { generate::write()? }
        }
        "bench" => bench::run(args)?,
        "chaos" => test::e2e::chaos(args)?,
        "deny" => supply::deny(args)?,
        "fuzz" => fuzz::run(args)?,
        "sbom" => supply::sbom(args)?,
        "help" | "-h" | "--help" => report::say(HELP.trim_end()),
        other => return Err(unknown(other, &COMMANDS).into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn cluster_command(mut args: Args) -> Result<()> {
    let words = ["up", "down", "status", "kubectl", "load", "stop", "start", "signal", "etcd"];
    let word = args.next().unwrap_or_else(|| "status".to_owned());
    // kubectl's own words are left alone.
    let name = if word == "kubectl" { None } else { args.option("--name")? };
    let cluster = name.map_or_else(Cluster::of_workspace, |name| Cluster::named(&name));
    match word.as_str() {
        "up" => {
            let kubernetes = KubernetesVersion::from_args(&mut args)?;
            args.end(&["--kubernetes"])?;
            tools::preflight::embedded()?;
            start(&cluster, kubernetes)
        }
        "down" => {
            args.end(&[])?;
            let was_there = cluster.down()?;
            report::progress(if was_there { "the cluster is gone" } else { "there was no cluster" });
            Ok(())
        }
        "status" => {
            args.end(&[])?;
            cluster.status()
        }
        "kubectl" => {
            // In this process's place, so that its exit code is ours.
            let error = cluster.kubectl().args(args.rest()).exec();
            Err(error)
                .context("cannot start kubectl (is the cluster down? `cargo xtask cluster up` starts it)")
        }
        "load" => args.rest().iter().try_for_each(|tar| cluster.load(Path::new(tar))),
        "stop" => args.rest().iter().try_for_each(|program| cluster.stop(program)),
        "start" => args.rest().iter().try_for_each(|program| cluster.start(program)),
        "signal" => {
            let first_only = args.switch("--first");
            let signal = args.next().unwrap_or_default();
            args.rest().iter().try_for_each(|program| cluster.signal(&signal, program, first_only).map(drop))
        }
        "etcd" => {
            let word = args.next().unwrap_or_default();
            args.end(&[])?;
            match word.as_str() {
                "save" => cluster.save_etcd(),
                "restore" => cluster.restore_etcd(),
                other => Err(unknown(other, &["save", "restore"]).into()),
            }
        }
        other => Err(unknown(other, &words).into()),
    }
}

/// Installs and builds what the embedded cluster needs, and starts it.
fn start(cluster: &Cluster, kubernetes: Option<KubernetesVersion>) -> Result<()> {
    let kubernetes = kubernetes.map_or_else(KubernetesVersion::newest, Ok)?;
    // Before the builds, which take minutes.
    cluster.expect_version(&kubernetes)?;
    tools::install_packages()?;
    let tools = Tools::build(&kubernetes)?;
    let pause = images::pause(&tools)?;
    cluster.up(&tools, &pause.archive)
}
