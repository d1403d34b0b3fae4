// WebKitGTK calls the language `C` under the locale `C.UTF-8`, the one of a bare Debian. No
// formatter takes that name, uPlot makes one while it is loaded, and the window would stay blank.
// So the main window imports this first. Deliberately absent: which catalogue is shown.

/** Gives the browser a language that formatters take, unless it has one. */
export function repairLanguage(browser: { readonly language: string } = navigator) {
  try {
    Intl.getCanonicalLocales(browser.language);
  } catch {
    Object.defineProperty(browser, "language", { value: "en", configurable: true });
  }
}

repairLanguage();
