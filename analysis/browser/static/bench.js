// The clamp bench: sliders, the two streams, colours, the link that writes the same again.
(function () {
  "use strict";

  var live = window.saesLive, form, pushes, running = null, run = null, told = null, waiting = 0;
  var kept = null; // what was written: {concepts, given, rows: [[{span, levels}]]}

  function byId(name) { return document.getElementById(name); }
  function status(text) { byId("status").textContent = text; }
  var ofLines = false; // whether the trouble that is shown came from what was asked, and goes with it
  function trouble(text, from) {
    ofLines = from === "lines";
    byId("trouble").hidden = !text;
    byId("trouble").textContent = text || "";
  }
  function base() { return window.location.pathname.replace(/\/bench$/, ""); }

  function number(input) { var value = parseFloat(input.value); return isFinite(value) ? value : 0; }

  function clampText(push) {
    var mode = push.querySelector("[name=mode]").value, name = push.dataset.name;
    if (mode === "ablate") return name + ":ablate";
    var value = number(push.querySelector("[name=value]"));
    var unit = mode === "scale" || push.dataset.byNumber === "0" ? "" : push.dataset.unit;
    return name + (mode === "set" ? "" : ":" + mode) + "=" + (value < 0 ? "" : "+") + value + unit;
  }

  function asked() {
    var text = form.elements.prompt.value, chat = form.elements.chat && form.elements.chat.checked;
    var turns = [];
    if (chat) text.split("\n").forEach(function (line) {
      if (/^(system|user|assistant|tool):/.test(line)) turns.push(line);
      else if (turns.length) turns[turns.length - 1] += "\n" + line;
      else turns.push("user: " + line);
    });
    return {
      prompt: chat ? "" : text, turn: turns, clamp: all().map(clampText), positions: form.elements.positions.value,
      temperature: number(form.elements.temperature), top_p: number(form.elements.top_p), seed: Math.round(number(form.elements.seed)),
      tokens: Math.round(number(form.elements.tokens)), beyond: form.elements.beyond.checked
    };
  }

  function all() { return Array.prototype.slice.call(pushes.querySelectorAll(".push")); }

  // ---- sliders

  function within(push, value) {
    var low = parseFloat(push.dataset.safeLow), high = parseFloat(push.dataset.safeHigh);
    if (form.elements.beyond.checked || !isFinite(low) || !isFinite(high)) return value;
    var mode = push.querySelector("[name=mode]").value;
    if (mode !== "max") value = Math.min(value, Math.floor(high * 1000) / 1000); // rounding must not lead out of it
    if (mode !== "min") value = Math.max(value, Math.ceil(low * 1000) / 1000);
    return value;
  }

  function marked(push) {
    var range = push.querySelector("[name=range]"), part = push.querySelector(".safe-part"), mode = push.querySelector("[name=mode]").value;
    push.classList.toggle("ablated", mode === "ablate");
    var low = parseFloat(push.dataset.safeLow), high = parseFloat(push.dataset.safeHigh), from = parseFloat(range.min), to = parseFloat(range.max);
    if (!isFinite(low) || to <= from) return;
    var start = Math.max(0, 100 * (low - from) / (to - from)), stop = Math.min(100, 100 * (high - from) / (to - from));
    part.setAttribute("x", start);
    part.setAttribute("width", Math.max(0, stop - start));
  }

  function moved(push, source) {
    var range = push.querySelector("[name=range]"), field = push.querySelector("[name=value]");
    var value = within(push, number(source));
    value = Math.round(value * 1000) / 1000;
    if (source === range || number(field) !== value) field.value = value;
    range.value = value;
    range.setAttribute("aria-valuetext", field.value + " " + push.querySelector(".unit").textContent);
    changed();
  }

  function modeChanged(push) {
    var mode = push.querySelector("[name=mode]").value, range = push.querySelector("[name=range]");
    var scale = mode === "scale", reach = push.dataset.unit === "raw" ? 20 : 4;
    range.min = scale ? 0 : Math.min(-reach, 1.25 * (parseFloat(push.dataset.safeLow) || 0));
    range.max = scale ? 4 : Math.max(reach, 1.25 * (parseFloat(push.dataset.safeHigh) || 0));
    push.querySelector(".unit").textContent = scale ? "times" : push.dataset.unit === "raw" ? "activation" : "dose units";
    if (scale && number(push.querySelector("[name=value]")) < 0) push.querySelector("[name=value]").value = 0;
    marked(push);
    moved(push, push.querySelector("[name=value]"));
  }

  function ready(push) {
    var range = push.querySelector("[name=range]"), field = push.querySelector("[name=value]");
    range.addEventListener("input", function () { moved(push, range); });
    field.addEventListener("change", function () { moved(push, field); });
    push.querySelector("[name=mode]").addEventListener("change", function () { modeChanged(push); });
    push.querySelector(".remove").addEventListener("click", function () { push.remove(); byId("name").focus(); changed(); });
    marked(push);
  }

  function add() {
    var name = byId("name").value.trim();
    if (!name) return;
    if (all().some(function (push) { return push.dataset.name === name; })) { trouble(name + " is there already"); return; }
    window.fetch(base() + "/bench/slider?name=" + encodeURIComponent(name), { headers: { accept: "application/json" } }).then(function (answer) {
      if (!answer.ok) return live.said(answer).then(function (text) { throw new Error(text); });
      return answer.text();
    }).then(function (text) {
      trouble("");
      pushes.insertAdjacentHTML("beforeend", text);
      var push = pushes.lastElementChild;
      ready(push);
      byId("name").value = "";
      push.querySelector("[name=range]").focus();
      changed();
    }).catch(function (error) { trouble(error.message); });
  }

  // ---- what was asked, in other words

  function changed() {
    byId("nothing").hidden = all().length > 0;
    var now = ++waiting;
    window.setTimeout(function () { if (now === waiting) lines(); }, 250);
  }

  function lines() {
    var now = waiting;
    return live.post(base() + "/bench/lines.json", asked()).then(function (found) {
      if (now !== waiting) return told;
      told = found;
      if (found.address) window.history.replaceState(null, "", base() + found.address);
      byId("command-line").textContent = found.command_line;
      byId("python").textContent = found.python || "";
      if (!running && (found.problem || ofLines)) trouble(found.problem, "lines");
      return found;
    }).catch(function (error) { trouble(error.message); });
  }

  // ---- writing

  function begin(event) {
    event.preventDefault();
    if (running) running.abort();
    var mine = new AbortController(), over = false, panes = [byId("baseline"), byId("clamped")];
    running = mine;
    run = null;
    kept = { concepts: [], given: [], rows: [[], []], tokens: asked().tokens };
    panes.forEach(function (pane) { pane.textContent = ""; });
    trouble("");
    byId("stop").disabled = false;
    byId("save").disabled = true;
    status("Asked.");
    lines();
    live.stream(base() + "/bench/stream", asked(), function (kind, data) {
      if (running !== mine) return;
      if (kind === "queued") {
        status(data.loading ? "The model is being opened." : data.place === 1 ? "One request is before yours." : data.place + " requests are before yours.");
      } else if (kind === "concepts") {
        status("Writing.");
        kept.concepts = data.concepts;
        offer();
      } else if (kind === "prompt") {
        data.text.forEach(function (text, at) {
          var some = { levels: data.levels[at], spans: panes.map(function (pane, row) {
            var span = live.token(text, true), first = kept.rows[row].length ? kept.rows[row][0].span : null;
            pane.insertBefore(span, first);
            return span;
          }) };
          kept.given.push(some);
        });
        painted();
      } else if (kind === "new") {
        data.text.forEach(function (text, row) {
          if (text === null) return;
          var span = live.token(text, false);
          panes[row].appendChild(span);
          kept.rows[row].push({ span: span, levels: null });
        });
      } else if (kind === "again") {
        kept.rows.forEach(function (row) { row.forEach(function (one) { one.span.remove(); }); row.length = 0; });
      } else if (kind === "read") {
        data.levels.forEach(function (levels, row) {
          if (levels === null || !kept.rows[row][data.step]) return;
          kept.rows[row][data.step].levels = levels;
        });
        painted();
      } else if (kind === "done") {
        over = true;
        run = data.run;
        [data.baseline, data.clamped].forEach(function (text, row) { // half a letter at the end comes only now
          var shown = kept.rows[row].map(function (one) { return one.span.textContent; }).join("");
          if (text.length > shown.length && text.indexOf(shown) === 0) panes[row].appendChild(live.token(text.slice(shown.length), false));
        });
        byId("save").disabled = false;
        status("Done: " + data.tokens[0] + " and " + data.tokens[1] + " tokens in " + data.seconds.toFixed(1) + " seconds.");
      } else if (kind === "error") {
        over = true;
        trouble(data.message);
        status("Nothing more was written.");
      } else if (kind === "cancelled") { over = true; status("Stopped."); }
    }, mine.signal).then(function () {
      if (running === mine && !over) { status("Stopped."); trouble("The connection ended before the text did."); }
    }).catch(function (error) {
      if (running !== mine) return;
      if (error.name === "AbortError") status("Stopped."); else { trouble(error.message); status("Nothing was written."); }
    }).then(function () { if (running === mine) { running = null; byId("stop").disabled = true; } });
  }

  // ---- colours and the trace

  function offer() {
    var shown = byId("shown"), first = shown.value;
    var clamped = all().map(function (push) { return push.dataset.byNumber === "1" ? "latent " + push.dataset.name : push.dataset.name; });
    if (kept.concepts.indexOf(first) < 0 || (clamped.length && !shown.dataset.chosen)) first = clamped.find(function (name) { return kept.concepts.indexOf(name) >= 0; }) || kept.concepts[0];
    shown.textContent = "";
    kept.concepts.forEach(function (name) {
      var option = document.createElement("option");
      option.textContent = name;
      option.selected = name === first;
      shown.appendChild(option);
    });
    byId("trace-box").hidden = !kept.concepts.length;
  }

  var due = false;
  function painted() {
    if (due) return;
    due = true;
    window.requestAnimationFrame(function () { due = false; paint(); });
  }

  function paint() {
    var name = byId("shown").value, column = kept.concepts.indexOf(name);
    if (column < 0) return;
    function level(levels) { return levels === null ? null : levels[column] || 0; }
    kept.given.forEach(function (one) { one.spans.forEach(function (span) { live.colour(span, level(one.levels), name); }); });
    kept.rows.forEach(function (row) { row.forEach(function (one) { live.colour(one.span, level(one.levels), name); }); });
    var before = kept.given.map(function (one) { return level(one.levels); });
    var values = kept.rows.map(function (row) {
      return live.smooth(before.concat(row.map(function (one) { return level(one.levels); }).filter(function (value) { return value !== null; })), 5);
    });
    live.trace(byId("trace"), [{ values: values[0], kind: "base" }, { values: values[1], kind: "own" }], { given: before.length, count: before.length + kept.tokens });
    byId("trace").setAttribute("aria-label", "Trace of " + name + ": mean " + mean(kept.rows[0]) + " left alone, " + mean(kept.rows[1]) + " clamped, dose units");

    function mean(row) {
      var some = row.map(function (one) { return level(one.levels); }).filter(function (value) { return value !== null; });
      return some.length ? (some.reduce(function (a, b) { return a + b; }, 0) / some.length).toFixed(2) : "not known";
    }
  }

  function save() {
    live.post(base() + "/bench/save.json", { run: run }).then(function () {
      byId("save").disabled = true;
      status("Saved in the study: it stands below.");
      return window.fetch(base() + "/bench").then(function (answer) { return answer.ok ? answer.text() : ""; }).then(function (text) {
        var page = new DOMParser().parseFromString(text, "text/html"), fresh = page.getElementById("saved-list");
        if (fresh) byId("saved-list").replaceWith(document.adoptNode(fresh));
      });
    }).catch(function (error) { trouble(error.message); });
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = byId("bench");
    if (!form) return;
    pushes = byId("pushes");
    all().forEach(ready);
    form.addEventListener("submit", begin);
    form.addEventListener("input", function (event) {
      if (event.target.id === "name") return; // nothing is asked until it is added
      if (event.target.name === "beyond") all().forEach(function (push) { moved(push, push.querySelector("[name=value]")); });
      changed();
    });
    byId("add").addEventListener("click", add);
    byId("name").addEventListener("keydown", function (event) { if (event.key === "Enter") { event.preventDefault(); add(); } });
    byId("stop").addEventListener("click", function () { if (running) running.abort(); });
    byId("share").addEventListener("click", function (event) {
      var button = event.currentTarget;
      lines().then(function (found) { if (found && found.address) live.copy(window.location.origin + base() + found.address, button); });
    });
    byId("save").addEventListener("click", save);
    byId("shown").addEventListener("change", function () { byId("shown").dataset.chosen = "1"; painted(); });
    Array.prototype.forEach.call(document.querySelectorAll("[data-copy]"), function (button) {
      button.addEventListener("click", function () { live.copy(byId(button.dataset.copy).textContent, button); });
    });
    window.addEventListener("pagehide", function () { if (running) running.abort(); });
    lines();
  });
})();
