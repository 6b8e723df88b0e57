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
  test [STEP…]              run all checks and tests, as CI does; --keep leaves the cluster running
  test e2e [NAME]           run only the tests in the cluster, or those with this name; likewise unit
  test compat               test the chart and the most version-dependent features in clusters of the oldest and the newest
                            version of Kubernetes; --kubernetes VERSION: only of that one
  cluster up | down         start or remove the embedded Kubernetes cluster; up --kubernetes VERSION: with that version, one
                            of the directories in e2e/kubernetes/kube (default: the newest)
  cluster status            show whether it is up, and the paths of its kubeconfig and logs
  cluster kubectl ARGS…     run kubectl for it
  cluster load TAR…         load the images of archives into it
  cluster stop | start PROGRAM
                            stop one of its programs (etcd, kube-apiserver, …), or start it again
  cluster signal KILL|TERM|STOP|CONT PROGRAM
                            send a signal to its processes and those of its containers; --first: only to the oldest
  cluster etcd save | restore
                            copy the data of its etcd, or restore the copy, so that resource versions go backwards
                            (--name NAME with any of these except kubectl: another cluster of this checkout)
  images [FOLDER…]          build all container images, or those of these directories in e2e/images
  generate [--check]        write the generated files, or fail if they are stale
  bench engine              measure the time and allocations of a decision
  bench serve [--soak N]    compare serving with a bare server: processor time, latency and memory; with a soak test of N
                            seconds (also --rounds N, --seconds N of each, --target TRIPLE, for the image's
                            x86_64-unknown-linux-musl)
  bench cli                 measure processor time and memory of the command line for 10,000 Deployments
  bench catalogue [NAME]    measure the startup time and memory that the catalogue's profiles add to a pod
  chaos [NAME…]             inject faults, or only those whose tests have this name, and report their effect on pods
  chaos --random SECONDS    inject random combinations of faults for that time; --seed N: repeat a sequence
  deny [--advisories]       check the licenses and sources of dependencies; with RustSec's advisories, which are downloaded
  sbom                      write the bill of materials of the image's program, as a CycloneDX document
  fuzz [TARGET…]            fuzz expressions, profiles and reviews; --seconds N for each target (60)

chaos, demo and test also accept --kubernetes VERSION or, to use an existing cluster:
  --kubeconfig FILE         also OUTRIGGER_KUBECONFIG
  --load 'CMD {}'           how to load images: a command for each archive, such as 'kind load image-archive {}'
  --registry HOST/PATH      or: a registry to push them to, from which the cluster can pull
                            (also OUTRIGGER_LOAD and OUTRIGGER_REGISTRY)
  OUTRIGGER_AUDIT_LOG=FILE  audit log of its API server, at level Metadata; some of the tests read it
";

const COMMANDS: [&str; 11] =
    ["chaos", "demo", "test", "cluster", "images", "generate", "bench", "deny", "fuzz", "sbom", "help"];

fn main() -> ExitCode {
    report::start_clock();
    if let Some(path) = workspace::path_with_administrators_programs() {
        let again = std::env::current_exe().map(|program| {
            std::process::Command::new(program).args(std::env::args_os().skip(1)).env("PATH", path).exec()
        });
        report::note(format_args!("error: cannot restart with an extended PATH: {again:?}"));
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
        report::print(HELP.trim_end());
        return Ok(ExitCode::SUCCESS);
    };
    // `cluster kubectl` passes all words on.
    if command != "cluster" && (args.switch("--help") || args.switch("-h")) {
        report::print(HELP.trim_end());
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
        "help" | "-h" | "--help" => report::print(HELP.trim_end()),
        other => return Err(unknown(other, &COMMANDS).into()),
    }
    Ok(ExitCode::SUCCESS)
}

fn cluster_command(mut args: Args) -> Result<()> {
    let words = ["up", "down", "status", "kubectl", "load", "stop", "start", "signal", "etcd"];
    let word = args.next().unwrap_or_else(|| "status".to_owned());
    // `cluster kubectl` passes all words on.
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
            report::progress(if was_there { "the cluster was removed" } else { "there was no cluster" });
            Ok(())
        }
        "status" => {
            args.end(&[])?;
            cluster.status()
        }
        "kubectl" => {
            // kubectl replaces this process, so that its exit code is returned.
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

/// Installs and builds the programs of the embedded cluster, and starts it.
fn start(cluster: &Cluster, kubernetes: Option<KubernetesVersion>) -> Result<()> {
    let kubernetes = kubernetes.map_or_else(KubernetesVersion::newest, Ok)?;
    // Checked before the builds, which take minutes.
    cluster.expect_version(&kubernetes)?;
    tools::install_packages()?;
    let tools = Tools::build(&kubernetes)?;
    let pause = images::pause(&tools)?;
    cluster.up(&tools, &pause.archive)
}
