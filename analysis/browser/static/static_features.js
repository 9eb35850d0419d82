// Filters and sorts the table of features where it is a file: rows are hidden and moved, never made. The address holds the state.
(function () {
  "use strict";

  var RANGES = ["density", "auroc", "effect", "lexical", "valence", "arousal"];

  document.addEventListener("DOMContentLoaded", function () {
    var block = document.getElementById("features-data"), form = document.getElementById("filter");
    var table = document.getElementById("features");
    if (!block || !form || !table) return;
    var values = JSON.parse(block.textContent);
    var body = table.tBodies[0], rows = Array.prototype.slice.call(body.rows), found = document.getElementById("found");
    var wanted = new URLSearchParams(location.search);
    var timer;

    function has(held, value) { return Array.isArray(held) ? held.indexOf(value) >= 0 : held === value; }

    function within(held, low, high) {
      return [].concat(held).some(function (one) {
        return one !== null && one !== undefined && (low === null || one >= low) && (high === null || one <= high);
      });
    }

    function bound(name) {
      var given = wanted.get(name);
      return given === null || given.trim() === "" || !isFinite(Number(given)) ? null : Number(given);
    }

    function fits(one) {
      var words = (wanted.get("q") || "").toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.every(function (word) { return one.text.indexOf(word) >= 0; })) return false;
      if (wanted.get("concept") && !has(one.concept, wanted.get("concept"))) return false;
      if (wanted.get("family") && !has(one.family, wanted.get("family"))) return false;
      var statuses = wanted.getAll("status").filter(Boolean);
      if (statuses.length && statuses.indexOf(one.status) < 0) return false;
      return RANGES.every(function (name) {
        var low = bound(name + "_from"), high = bound(name + "_to");
        return (low === null && high === null) || within(one[name], low, high);
      });
    }

    // What has no value stands last, whichever way.
    function compare(name, way) {
      return function (a, b) {
        var x = [].concat(values[a][name])[0], y = [].concat(values[b][name])[0];
        var none = [x, y].map(function (one) { return one === null || one === undefined; });
        if (none[0] || none[1]) return none[0] - none[1] || a - b;
        return (x < y ? -1 : x > y ? 1 : 0) * way || a - b;
      };
    }

    function show() {
      var sort = wanted.get("sort") || "-auroc", name = sort.replace(/^-/, ""), way = sort[0] === "-" ? -1 : 1, count = 0;
      var order = values.map(function (one, at) { return at; });
      if (values.length && name in values[0]) order.sort(compare(name, way));
      order.forEach(function (at) {
        var keep = fits(values[at]);
        rows[at].hidden = !keep;
        if (keep) rows[at].setAttribute("data-row", ""); else rows[at].removeAttribute("data-row");
        count += keep;
        body.appendChild(rows[at]);
      });
      found.textContent = count === values.length ? count + " features" : count + " of " + values.length + " features";
      table.querySelectorAll("th[data-sort]").forEach(function (head) {
        if (head.dataset.sort === name) head.setAttribute("aria-sort", way < 0 ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
      });
    }

    function remember() {
      var query = wanted.toString();
      try { history.replaceState(null, "", query ? "?" + query : location.pathname); } catch (error) { /* not from every disk */ }
    }

    function fromForm() {
      Array.prototype.forEach.call(form.elements, function (one) {
        if (!one.name) return;
        if (one.value) wanted.set(one.name, one.value); else wanted.delete(one.name);
      });
      remember();
      show();
    }

    Array.prototype.forEach.call(form.elements, function (one) { if (one.name && wanted.get(one.name)) one.value = wanted.get(one.name); });
    form.hidden = false;
    form.addEventListener("submit", function (event) { event.preventDefault(); fromForm(); });
    form.addEventListener("input", function () { clearTimeout(timer); timer = setTimeout(fromForm, 120); });
    form.addEventListener("reset", function () { wanted = new URLSearchParams(); setTimeout(function () { fromForm(); }); });
    table.querySelectorAll("th[data-sort]").forEach(function (head) {
      var button = document.createElement("button");
      button.type = "button";
      button.className = "plain";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var name = head.dataset.sort, now = wanted.get("sort") || "-auroc";
        var text = name === "concept" || name === "status" || name === "latent";
        wanted.set("sort", now === "-" + name ? name : now === name || !text ? "-" + name : name);
        remember();
        show();
      });
    });
    show();
  });
})();
