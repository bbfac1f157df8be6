//! The guide, command by command, as a newcomer would type it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use revealed::eval::shop_desk::{self, Setting, TaskSize};
use serde_json::json;

use crate::world::{RECIPE, World};

/// A page's `sh` blocks, in order.
fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).collect()
}

/// Pairs of prompts that no demonstration has.
fn pairs() -> String {
    let size = TaskSize { clerk: 0, demonstrations: 12, held_out: 0, prompts: 0, test: 0 };
    let task = shop_desk::task_of_size(9, Setting::Easy, &size);
    let line = |(note, reply): &(shop_desk::Note, String)| {
        let (prompt, chosen) = (note.prompt(), format!(" {reply}"));
        let row =
            json!({"prompt": prompt, "chosen": chosen, "rejected": " this is not our fault ."});
        format!("{row}\n")
    };
    task.demonstrations.iter().map(line).collect()
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let world = World::new("llama");
    world.write("pairs.jsonl", &pairs());
    // A recipe that takes seconds stands in for the one that is printed.
    world.write("tiny.toml", RECIPE);
    world.write(
        "bin/revealed",
        &format!(
            "#!/bin/sh\nif [ \"$1\" = recipe ]; then {0} recipe >/dev/null && cat tiny.toml; else exec {0} \"$@\"; fi\n",
            env!("CARGO_BIN_EXE_revealed")
        ),
    );
    fs::set_permissions(world.path("bin/revealed"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", world.path("bin").display(), std::env::var("PATH").unwrap());
    let blocks = blocks("guide.md");
    assert!(blocks.len() >= 9, "{} blocks: is the page where it was?", blocks.len());
    for block in blocks {
        let done = Command::new("sh")
            .args(["-euc", &block])
            .current_dir(world.folder.path())
            .env("PATH", &path)
            .output()
            .unwrap();
        let (stdout, stderr) =
            (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{block}\nstdout: {stdout}\nstderr: {stderr}");
    }
    for made in [
        "runs/first/report.html",
        "runs/first/policy/README.md",
        "runs/first/reward/README.md",
        "merged/model.safetensors",
    ] {
        assert!(world.path(made).is_file(), "{made}");
    }
}
