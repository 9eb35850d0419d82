// The monitor page: what was pasted, read by the model, drawn.
(function () {
  "use strict";

  var live = window.saesLive, form, running = null, found = null, spans = [];

  function byId(name) { return document.getElementById(name); }
  function status(text) { byId("status").textContent = text; }
  function trouble(text) { byId("trouble").hidden = !text; byId("trouble").textContent = text || ""; }
  function rules() { return form.elements.rules.value.split(";").map(function (one) { return one.trim(); }).filter(Boolean); }

  function begin(event) {
    if (event) event.preventDefault();
    if (running) running.abort();
    var mine = new AbortController(), over = false;
    running = mine;
    trouble("");
    byId("stop").disabled = false;
    status("Asked.");
    live.stream("/monitor/stream", { text: form.elements.text.value, rule: rules(), divergence: form.elements.divergence.checked }, function (kind, data) {
      if (running !== mine) return;
      if (kind === "queued") status(data.loading ? "The model is being opened." : data.place + (data.place === 1 ? " request is before yours." : " requests are before yours."));
      else if (kind === "progress") status(data.said + (data.tokens ? " " + data.tokens + " tokens." : ""));
      else if (kind === "done") { over = true; found = data; draw(); }
      else if (kind === "error") { over = true; trouble(data.message); status("Nothing was read."); }
      else if (kind === "cancelled") { over = true; status("Stopped."); }
    }, mine.signal).then(function () {
      if (running === mine && !over) status("The connection ended too early.");
    }).catch(function (error) {
      if (running !== mine) return;
      if (error.name === "AbortError") status("Stopped."); else { trouble(error.message); status("Nothing was read."); }
    }).then(function () { if (running === mine) { running = null; byId("stop").disabled = true; } });
  }

  function cells(row, texts, numbers) {
    texts.forEach(function (text, at) {
      var cell = document.createElement("td");
      cell.textContent = text;
      if (numbers.indexOf(at) >= 0) cell.className = "n";
      row.appendChild(cell);
    });
    return row;
  }

  // ---- what does not depend on the label that is shown

  function draw() {
    status("Done: " + found.tokens.length + " tokens, " + found.alarms.length + (found.alarms.length === 1 ? " alarm." : " alarms."));
    byId("about").textContent = "Percentiles of " + found.reference.tokens.toLocaleString("en") + " tokens of " + found.reference.source + "." + missing();
    byId("result").hidden = false;
    offer();
    var box = byId("coloured"), before = null;
    box.textContent = "";
    spans = found.tokens.map(function (token) {
      var here = token.document + "/" + token.turn;
      if (token.turn >= 0 && here !== before) {
        before = here;
        var turn = found.turns.find(function (one) { return one.document === token.document && one.turn === token.turn; });
        var marks = box.textContent.slice(-40).toLowerCase(); // a template that names the speaker has said it
        if (turn && turn.speaker !== "text" && !(box.lastChild && box.lastChild.classList.contains("given") && marks.indexOf(turn.speaker) >= 0)) {
          var name = document.createElement("span");
          name.className = "speaker";
          name.textContent = turn.speaker;
          box.appendChild(name);
        }
      }
      var span = live.token(token.text, token.turn < 0);
      box.appendChild(span);
      return span;
    });
    var list = byId("alarms");
    list.textContent = "";
    found.alarms.forEach(function (one) {
      list.appendChild(cells(document.createElement("tr"), [one.rule, one.token, one.turn < 0 ? "–" : one.turn + 1, one.mean.toFixed(2), one.threshold.toFixed(2)], [1, 2, 3, 4]));
    });
    list.closest(".wide").hidden = !found.alarms.length;
    byId("no-alarm").textContent = found.alarms.length ? "" : rules().length ? "No rule rang." : "No rule was given.";
    byId("turns-box").hidden = !found.turns.some(function (one) { return one.speaker !== "text" || one.diverges.length; }) && found.turns.length < 2;
    paint();
  }

  function missing() {
    var lacking = byId("result").dataset.shown.split(",").filter(function (name) { return name && found.concepts.indexOf(name) < 0; });
    return lacking.length ? " No label of " + lacking.join(", ") + " held in this study." : "";
  }

  function offer() {
    var shown = byId("shown"), wished = byId("result").dataset.shown.split(","), before = shown.value;
    var sums = found.concepts.map(function (name, at) {
      return found.tokens.map(function (token) { return token.percentiles[at] || 0; }).sort(function (a, b) { return b - a; })
        .slice(0, Math.max(1, found.tokens.length / 20)).reduce(function (a, b) { return a + b; }, 0);
    });
    var order = found.concepts.slice().sort(function (a, b) { return sums[found.concepts.indexOf(b)] - sums[found.concepts.indexOf(a)]; });
    var ruled = found.alarms.map(function (alarm) { return alarm.rule.replace(/ *[<>].*$/, ""); });
    var first = [before].concat(wished, ruled).find(function (name) { return found.concepts.indexOf(name) >= 0; }) || order[0];
    shown.textContent = "";
    order.forEach(function (name) {
      var option = document.createElement("option");
      option.textContent = name;
      option.selected = name === first;
      shown.appendChild(option);
    });
  }

  // ---- what does

  function paint() {
    if (!found) return;
    var name = byId("shown").value, column = found.concepts.indexOf(name);
    var levels = found.tokens.map(function (token) { return token.levels[column] || 0; });
    spans.forEach(function (span, at) {
      live.colour(span, levels[at], name, ", percentile " + (found.tokens[at].percentiles[column] || 0).toFixed(1));
    });
    var turns = [];
    found.tokens.forEach(function (token, at) {
      if (at && token.turn >= 0 && (token.turn !== found.tokens[at - 1].turn || token.document !== found.tokens[at - 1].document)) turns.push(at);
    });
    var means = live.smooth(levels, 5);
    live.trace(byId("trace"), [{ values: means, kind: "own" }], {
      turns: turns, levels: [{ value: found.usual[column][0], name: "p95" }, { value: found.usual[column][1], name: "p99" }],
      marks: found.alarms.filter(function (one) { return one.rule.indexOf(name + " ") === 0; }).map(function (one) { return { at: one.at, value: means[one.at] }; })
    });
    byId("trace").setAttribute("aria-label", "Trace of " + name + " over " + levels.length + " tokens, highest " + Math.max.apply(null, levels.concat(0)).toFixed(2) + " dose units");
    var speakers = [];
    found.turns.forEach(function (one) { if (speakers.indexOf(one.speaker) < 0) speakers.push(one.speaker); });
    var kinds = ["own", "s1", "s2", "s3"];
    live.trace(byId("turn-trace"), speakers.map(function (speaker, at) {
      var mine = found.turns.map(function (one, place) { return { one: one, place: place }; }).filter(function (pair) { return pair.one.speaker === speaker; });
      return { values: mine.map(function (pair) { return pair.one.mean[name]; }), at: mine.map(function (pair) { return pair.place; }), kind: kinds[at % 4], dots: true };
    }), { count: found.turns.length, foot: "turn " + found.turns.length });
    var key = byId("speakers");
    key.textContent = "";
    speakers.forEach(function (speaker, at) {
      var one = document.createElement("span"), mark = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS("http://www.w3.org/2000/svg", "path");
      mark.setAttribute("class", "trace line-key");
      mark.setAttribute("viewBox", "0 0 26 8");
      line.setAttribute("class", "line " + kinds[at % 4]);
      line.setAttribute("d", "M0 4H26");
      mark.appendChild(line);
      one.appendChild(mark);
      one.appendChild(document.createTextNode(speaker));
      key.appendChild(one);
    });
    var list = byId("turns");
    list.textContent = "";
    found.turns.forEach(function (one) {
      var strongest = Object.keys(one.mean).sort(function (a, b) { return one.mean[b] - one.mean[a]; }).slice(0, 3).filter(function (label) { return one.mean[label] > 0; });
      var parted = one.diverges.map(function (each) { return each.concept + " " + each.kind + " (inside p" + each.inside.toFixed(0) + ", words p" + each.outside.toFixed(0) + ")"; });
      list.appendChild(cells(document.createElement("tr"), [one.turn + 1, one.speaker, one.n_tokens, one.mean[name].toFixed(2), one.peak[name].toFixed(2),
        one.peak_percentile[name].toFixed(1), strongest.join(", "), parted.join("; ")], [0, 2, 3, 4, 5]));
    });
  }

  function opened(event) {
    var file = event.target.files[0];
    if (!file) return;
    var most = form.elements.text.maxLength;
    if (file.size > 4 * most) { trouble("The file holds " + file.size + " bytes: " + most + " letters at most are read here."); return; }
    file.text().then(function (text) {
      if (text.length > most) { trouble("The file holds " + text.length + " letters: " + most + " at most are read here."); return; }
      trouble("");
      form.elements.text.value = text;
    });
  }

  document.addEventListener("DOMContentLoaded", function () {
    form = byId("monitor");
    if (!form) return;
    form.addEventListener("submit", begin);
    byId("file").addEventListener("change", opened);
    byId("stop").addEventListener("click", function () { if (running) running.abort(); });
    byId("shown").addEventListener("change", paint);
    window.addEventListener("pagehide", function () { if (running) running.abort(); });
    if (form.dataset.run === "1") begin();
  });
})();
