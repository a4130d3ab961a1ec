//! A folder with the Node package in it, as somebody would have it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// The package as somebody would install it, compiled once for all tests of a run.
fn package() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packages/node");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(concat!(env!("CARGO_PKG_NAME"), "-node"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("dist/cjs")).unwrap();
        for file in ["package.json", "tsconfig.json", "tsconfig.cjs.json", "README.md"] {
            std::fs::copy(source.join(file), folder.join(file)).unwrap();
        }
        std::os::unix::fs::symlink(source.join("src"), folder.join("src")).unwrap();
        let modules = PathBuf::from(std::env::var_os("TIELINE_TEST_NODE_MODULES").unwrap());
        std::os::unix::fs::symlink(&modules, folder.join("node_modules")).unwrap();
        for project in ["tsconfig.json", "tsconfig.cjs.json"] {
            let mut compiler = Command::new(std::env::var_os("TIELINE_TEST_NODE").unwrap());
            compiler.arg(modules.join("typescript/bin/tsc")).args(["-p", project]).current_dir(&folder);
            compiler.arg("--preserveSymlinks");
            let output = compiler.output().unwrap();
            assert!(output.status.success(), "{project}: {}", String::from_utf8_lossy(&output.stdout));
        }
        std::fs::write(folder.join("dist/cjs/package.json"), r#"{"type":"commonjs"}"#).unwrap();
        folder
    })
}

/// Makes a folder `node_modules` with the package and everything that is in another one.
pub(crate) fn with_package_beside(here: &Path, modules: &Path) {
    // A copy: what a link leads to would look for jsforce beside itself.
    let tieline = here.join("tieline");
    std::fs::create_dir_all(&tieline).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-r").args([package().join("dist"), package().join("package.json")]).arg(&tieline);
    assert!(copy.status().unwrap().success());
    for entry in std::fs::read_dir(modules).unwrap() {
        let entry = entry.unwrap();
        std::os::unix::fs::symlink(entry.path(), here.join(entry.file_name())).unwrap();
    }
}

/// A folder in which a program finds the package and one version of jsforce.
pub(crate) fn project(modules: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    with_package_beside(&folder.path().join("node_modules"), Path::new(&std::env::var_os(modules).unwrap()));
    folder
}
