// The page until the hub's own pages are there: asks the app how far the start is, and when
// it failed shows why with the ways out. Deliberately absent: anything of the user's.
"use strict";

const TEXTS = {
    en: {
        starting: "Loqa is starting",
        hub: "Opening the message bus, the record and the skills",
        window: "Opening the microphone, the speaker and the window",
        ready: "One moment",
        failed: "Loqa did not start",
        again: "Try again",
        quit: "Quit",
    },
    de: {
        starting: "Loqa startet",
        hub: "Nachrichtenbus, Protokoll und Fähigkeiten werden geöffnet",
        window: "Mikrofon, Lautsprecher und Fenster werden geöffnet",
        ready: "Einen Moment",
        failed: "Loqa ist nicht gestartet",
        again: "Noch einmal",
        quit: "Beenden",
    },
};
/** Milliseconds between two looks. Chosen: a start takes about a second. */
const EVERY = 250;

const language = navigator.language.startsWith("de") ? "de" : "en";
const texts = TEXTS[language];
const invoke = (command) => window.__TAURI_INTERNALS__.invoke(command);
const element = (id) => document.getElementById(id);

function show(state) {
    const failed = state.step === "failed";
    document.body.classList.toggle("failed", failed);
    element("title").textContent = failed ? texts.failed : texts.starting;
    element("step").textContent = failed ? "" : (texts[state.step] ?? "");
    element("problem").textContent = failed ? state.problem : "";
    if (element("failure").hidden === failed) {
        element("failure").hidden = !failed;
        if (failed) element("again").focus();
    }
}

async function look() {
    try {
        show(await invoke("start_read"));
    } catch {
        // The app is ending, or shows another page at this moment.
    }
    setTimeout(look, EVERY);
}

document.documentElement.lang = language;
element("again").textContent = texts.again;
element("quit").textContent = texts.quit;
element("again").addEventListener("click", () => invoke("start_again"));
element("quit").addEventListener("click", () => invoke("quit"));
look();
