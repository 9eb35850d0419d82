// Excerpts: tokens' values by arrow keys, and copying.
(function () {
  "use strict";

  function walk(excerpt) {
    var tokens = Array.prototype.slice.call(excerpt.querySelectorAll(".t"));
    if (!tokens.length) return;
    var strongest = tokens.reduce(function (a, b) { return Number(b.dataset.value) > Number(a.dataset.value) ? b : a; });
    tokens.forEach(function (token) {
      token.tabIndex = token === strongest ? 0 : -1;
      token.setAttribute("role", "note");
      token.setAttribute("aria-label", token.textContent + ": " + token.dataset.value);
    });
    excerpt.addEventListener("keydown", function (event) {
      var step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
      var next = tokens[tokens.indexOf(event.target) + step];
      if (!step || !next) return;
      event.preventDefault();
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  function copy(button) {
    var text = button.dataset.text;
    var copied = window.isSecureContext && navigator.clipboard
      ? navigator.clipboard.writeText(text)
      : new Promise(function (done, failed) {
          var area = document.createElement("textarea");
          area.value = text;
          document.body.append(area);
          area.select();
          var worked = document.execCommand("copy");
          area.remove();
          button.focus();
          if (worked) done(); else failed();
        });
    copied.then(function () { button.textContent = "copied"; }, function () { button.textContent = "not copied"; });
    window.setTimeout(function () { button.textContent = "copy"; }, 1500);
  }

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll(".excerpt").forEach(walk);
    document.querySelectorAll(".copy").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () { copy(button); });
    });
  });
})();
