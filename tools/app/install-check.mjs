#!/usr/bin/env node
// `npm run app:install-check`: the packages as a person gets them. The .deb is installed by
// apt in a bare Debian (debootstrap), started there as a user without rights, asked, quit and
// removed; then the .rpm by rpm. They and the archive must hold the same tree. As root only, and not part of
// `npm test`: the bare Debian takes minutes and the network.

import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { cp, mkdir, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { findApt } from "../setup/packages.mjs";
import { ROOT, targetFolder } from "../setup/paths.mjs";
import { capture, tryCapture } from "../setup/run.mjs";

const HELP = `usage: npm run app:install-check -- [--profile dev|release] [--root DIR]

Installs the packages of \`npm run app:bundle\` in a bare Debian and uses them there.

  --root DIR  where the bare Debian is kept for the next time; else it is made anew
`;
/** Debian's mirror; apt's own settings are not looked at, the new root has its own. */
const MIRROR = "http://deb.debian.org/debian";
/** For the check only: a display and a session bus. */
const FOR_THE_CHECK = ["xvfb", "xauth", "dbus", "xdotool", "pulseaudio", "procps"];
/** What the bare Debian runs as a user: starts the app, waits, asks, looks at the window, quits. */
const STORY = join(ROOT, "tools", "app", "installed-story.sh");

async function main(args) {
  if (args.includes("--help")) {
    process.stdout.write(HELP);
    return 0;
  }
  const value = (name) => (args.includes(name) ? args[args.indexOf(name) + 1] : null);
  const profile = value("--profile") ?? "release";
  const packages = join(targetFolder(), "bundle", profile);
  const names = await readdir(packages).catch(() => []);
  const find = (ending) => {
    const name = names.find((name) => name.endsWith(ending));
    if (!name) throw new Error(`there is no ${ending} in \`${packages}\`: run \`npm run app:bundle -- --profile ${profile}\``);
    return join(packages, name);
  };
  const [deb, rpm, archive] = [find(".deb"), find(".rpm"), find(".tar.gz")];
  if (process.getuid() !== 0) throw new Error("a bare Debian is made by root only: use `sudo npm run app:install-check`");

  await sameTree(deb, rpm, archive);
  const kept = value("--root");
  const scratch = await mkdtemp(join(tmpdir(), "loqa-install-"));
  try {
    const base = kept ?? join(scratch, "base");
    await bareDebian(base);
    await inside(base, scratch, deb, rpm);
  } finally {
    await rm(scratch, { recursive: true, force: true, maxRetries: 5 });
  }
  say("the packages are good");
  return 0;
}

/** The three packages hold the same files with the same contents, and no scripts. */
async function sameTree(deb, rpm, archive) {
  const apt = await findApt(process.env);
  if (apt && (await tryCapture("rpm", ["--version"])) === null) await apt.install(["rpm", "rpm2cpio", "cpio"]);
  const scratch = await mkdtemp(join(tmpdir(), "loqa-trees-"));
  try {
    const trees = ["deb", "rpm", "tar"].map((name) => join(scratch, name));
    for (const tree of trees) await mkdir(tree);
    await capture("dpkg-deb", ["--extract", deb, trees[0]]);
    await capture("sh", ["-c", 'cd "$1" && rpm2cpio "$2" | cpio -idm --quiet', "sh", trees[1], rpm]);
    await capture("tar", ["-xzf", archive, "-C", trees[2], "--transform=s,^[^/]*,usr,"]);
    const [inDeb, inRpm, inTar] = await Promise.all(trees.map(digests));
    // Each kind of package keeps the licence where its system looks for it, and the bundler
    // writes into the app's program which kind it is of.
    const common = (files) =>
      [...files]
        .filter(([path]) => !/^usr\/share\/(doc|licenses)\//.test(path))
        .map(([path, digest]) => (path === "usr/bin/loqa-desktop" ? [path, "-"] : [path, digest]))
        .sort();
    for (const [name, other] of [[rpm, inRpm], [archive, inTar]]) {
      const [ours, theirs] = [common(inDeb), common(other)].map((list) => list.map((pair) => pair.join("  ")));
      const differing = [...ours.filter((line) => !theirs.includes(line)), ...theirs.filter((line) => !ours.includes(line))];
      if (differing.length > 0) throw new Error(`${basename(name)} and ${basename(deb)} differ:\n${differing.join("\n")}`);
    }
    const control = await capture("sh", ["-c", 'dpkg-deb --ctrl-tarfile "$1" | tar -t', "sh", deb]);
    for (const script of ["postinst", "preinst", "postrm", "prerm"]) {
      if (control.split("\n").some((line) => line.endsWith(script))) throw new Error(`${basename(deb)} runs a ${script}`);
    }
    const scripts = (await capture("rpm", ["-qp", "--nosignature", "--scripts", rpm])).trim();
    if (scripts !== "") throw new Error(`${basename(rpm)} runs a script:\n${scripts}`);
    say(`${inDeb.size} files, the same in .deb, .rpm and archive; no scripts`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function digests(tree) {
  const text = await capture("sh", ["-c", 'cd "$1" && find . -type f -exec sha256sum {} +', "sh", tree]);
  return new Map(text.trim().split("\n").map((line) => [line.slice(66).replace(/^\.\//, ""), line.slice(0, 64)]));
}

async function bareDebian(base) {
  if (await readFile(join(base, "etc", "debian_version")).catch(() => null)) return;
  const apt = await findApt(process.env);
  if ((await tryCapture("debootstrap", ["--version"])) === null) await apt?.install(["debootstrap"]);
  say("making a bare Debian 12; this takes some minutes");
  await capture("debootstrap", ["--variant=minbase", "bookworm", base, MIRROR], { timeoutMs: 20 * 60_000 });
}

/** Installs, uses and removes the package in the bare Debian; the kept one stays as it is. */
async function inside(base, scratch, deb, rpm) {
  const root = join(scratch, "root");
  await mkdir(root);
  await capture("cp", ["-a", "--reflink=auto", `${base}/.`, root], { timeoutMs: 10 * 60_000 });
  for (const file of [deb, rpm]) await cp(file, join(root, "tmp", basename(file)));
  await cp(STORY, join(root, "tmp", "story.sh"));
  // A mount space and a process space of its own: nothing in it outlives it, and no mount stays.
  const script = `
set -eu
mount -t proc proc /proc
mount -t tmpfs tmpfs /dev/shm 2>/dev/null || { mkdir -p /dev/shm && mount -t tmpfs tmpfs /dev/shm; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends ${FOR_THE_CHECK.join(" ")} >/dev/null
find / -xdev -path /proc -prune -o -path /tmp -prune -o -path /var -prune -o -path /home -prune -o -print | sort > /var/before
apt-get install -y -qq --no-install-recommends /tmp/${basename(deb)} >/dev/null
find /usr -xdev | grep -iE '/(loqa|ai[.]loqa)' | sort > /var/installed
useradd --create-home ada
su ada -c 'sh /tmp/story.sh'
apt-get purge -y -qq loqa >/dev/null
while read -r path; do if [ -e "$path" ]; then echo "left behind: $path"; exit 1; fi; done < /var/installed
test -d /home/ada/.local/share/loqa || { echo "the user's data is gone"; exit 1; }
echo "removed: nothing is left but the user's data"
apt-get install -y -qq --no-install-recommends rpm >/dev/null
rm -rf /home/ada/.local /home/ada/run
# What it needs came by apt, which rpm does not know.
rpm --install --nodeps /tmp/${basename(rpm)}
su ada -c 'sh /tmp/story.sh'
rpm --erase --nodeps loqa
# The bundler's .rpm names files only, so that empty folders stay.
while read -r path; do if [ -e "$path" ] && [ ! -d "$path" ]; then echo "the .rpm left behind: $path"; exit 1; fi; done < /var/installed
echo "the .rpm, too, but for empty folders"
`;
  const code = await new Promise((resolve, reject) => {
    const flags = ["--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"];
    const child = spawn("unshare", [...flags, "chroot", root, "/bin/sh", "-c", script], { stdio: ["ignore", "pipe", "pipe"], env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8" } });
    const words = createWriteStream(join(targetFolder(), "install-check.log"));
    for (const stream of [child.stdout, child.stderr]) {
      stream.on("data", (bytes) => {
        words.write(bytes);
        process.stdout.write(bytes);
      });
    }
    child.on("error", reject);
    child.on("close", resolve);
  });
  if (code !== 0) throw new Error(`the check in the bare Debian failed; its words are in \`${join(targetFolder(), "install-check.log")}\``);
}

function say(text) {
  process.stdout.write(`${text}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`error: ${error.message}\n`);
    process.exitCode = 1;
  }
}
