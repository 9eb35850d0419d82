// What every page shares: the colour switch and the keys.
(function () {
  "use strict";

  var THEMES = ["", "light", "dark"];
  var NAMES = { "": "as the system", light: "light", dark: "dark" };
  var SIGNS = { "": "◐", light: "○", dark: "●" };

  function theme() { return document.documentElement.dataset.theme || ""; }

  function show(button) {
    button.textContent = SIGNS[theme()];
    button.setAttribute("aria-label", "Colours: " + NAMES[theme()]);
    button.title = "Colours: " + NAMES[theme()];
  }

  function turn(button) {
    var next = THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];
    if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
    try { window.localStorage.setItem("saes-theme", next); } catch (error) { /* then it holds for this page only */ }
    show(button);
    document.dispatchEvent(new CustomEvent("saes:theme"));
  }

  function rows() { return Array.prototype.slice.call(document.querySelectorAll("[data-row]")); }

  function move(step) {
    var all = rows();
    if (!all.length) return;
    var at = all.findIndex(function (row) { return row.contains(document.activeElement); });
    var next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + step));
    var link = all[next].querySelector("a[href]");
    if (link) { link.focus({ preventScroll: true }); all[next].scrollIntoView({ block: "nearest" }); }
  }

  function follow(rel) {
    var link = document.querySelector('a[rel~="' + rel + '"]');
    if (link) link.click();
  }

  function typing(target) {
    return target.closest("input:not([type=checkbox]):not([type=range]), textarea, select, [contenteditable]");
  }

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest && typing(event.target)) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    if (document.querySelector("dialog[open]")) return;
    var search = document.querySelector("input[type=search]");
    if (event.key === "/" && search) { event.preventDefault(); search.focus(); search.select(); }
    else if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "n") follow("next");
    else if (event.key === "p") follow("prev");
    else if (event.key === "?") document.getElementById("keys").showModal();
  });

  // An address holds only what is asked for: empty fields stay out of it.
  document.addEventListener("formdata", function (event) {
    if (event.target.method !== "get") return;
    Array.from(new Set(event.formData.keys())).forEach(function (name) {
      if (event.formData.getAll(name).every(function (value) { return value === ""; })) event.formData.delete(name);
    });
  });

  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", function () { turn(button); });
    show(button);
    var keys = document.getElementById("keys-open");
    keys.hidden = false;
    keys.addEventListener("click", function () { document.getElementById("keys").showModal(); });
  });
})();
