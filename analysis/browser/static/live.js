// What the clamp bench and the monitor share: streams of events, coloured tokens, traces.
window.saesLive = (function () {
  "use strict";

  var FULL = 2; // dose units at which a colour is strongest
  var SVG = "http://www.w3.org/2000/svg";

  // Posts `body` and calls onEvent(kind, data) for each server-sent event of the answer. Rejects with one sentence.
  function stream(address, body, onEvent, signal) {
    return window.fetch(address, {
      method: "POST", body: JSON.stringify(body), signal: signal,
      headers: { "content-type": "application/json", accept: "text/event-stream, application/json" }
    }).then(function (answer) {
      if (!answer.ok) return said(answer).then(function (text) { throw new Error(text); });
      var reader = answer.body.getReader(), decoder = new TextDecoder(), rest = "";
      function more() {
        return reader.read().then(function (part) {
          if (part.done) return undefined;
          rest += decoder.decode(part.value, { stream: true });
          var pieces = rest.split("\n\n");
          rest = pieces.pop();
          pieces.forEach(function (piece) {
            var kind = "", data = "";
            piece.split("\n").forEach(function (line) {
              if (line.indexOf("event: ") === 0) kind = line.slice(7);
              else if (line.indexOf("data: ") === 0) data += line.slice(6);
            });
            if (kind) onEvent(kind, JSON.parse(data));
          });
          return more();
        });
      }
      return more();
    });
  }

  // The sentence of an answer that is an error.
  function said(answer) {
    return answer.text().then(function (text) {
      try { var told = JSON.parse(text); return told.sentence || told.detail || text; } catch (error) { return text || "status " + answer.status; }
    });
  }

  function post(address, body) {
    return window.fetch(address, {
      method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", accept: "application/json" }
    }).then(function (answer) {
      if (!answer.ok) return said(answer).then(function (text) { throw new Error(text); });
      return answer.json();
    });
  }

  function heat(level) { return Math.max(0, Math.min(20, Math.round(20 * level / FULL))); }

  function token(text, given) {
    var span = document.createElement("span");
    span.className = given ? "t given" : "t";
    span.textContent = text;
    return span;
  }

  function colour(span, level, name, more) {
    var given = span.classList.contains("given");
    span.className = "t" + (given ? " given" : "") + (level > 0 ? " heat-" + heat(level) : "");
    span.title = level === null ? "" : name + " " + level.toFixed(2) + " dose units" + (more || "");
  }

  function smooth(values, width) {
    var total = 0, found = [];
    for (var at = 0; at < values.length; at++) {
      total += values[at];
      if (at >= width) total -= values[at - width];
      found.push(total / Math.min(width, at + 1));
    }
    return found;
  }

  function make(name, attributes, text) {
    var made = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { made.setAttribute(key, attributes[key]); });
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // lines: [{values, kind}]; options: given (so many tokens shaded), levels [{value, name}], marks [{at, line}], turns [at], x
  function trace(svg, lines, options) {
    var width = Math.max(260, Math.round(svg.getBoundingClientRect().width) || 700), height = 110, left = 34, right = 6, top = 8, foot = 18;
    svg.setAttribute("viewBox", "0 0 " + width + " " + height);
    var count = Math.max(2, options.count || 0), most = 0.1;
    lines.forEach(function (line) { count = Math.max(count, line.values.length); line.values.forEach(function (v) { most = Math.max(most, v); }); });
    (options.levels || []).forEach(function (one) { most = Math.max(most, one.value); });
    most *= 1.08;
    function x(at) { return left + (width - left - right) * at / (count - 1); }
    function y(value) { return top + (height - top - foot) * (1 - Math.max(0, value) / most); }
    while (svg.firstChild) svg.removeChild(svg.firstChild);
    if (options.given) svg.appendChild(make("rect", { class: "given", x: left, y: top, width: Math.max(0, x(options.given - 1) - left), height: height - top - foot }));
    svg.appendChild(make("line", { class: "axis", x1: left, x2: width - right, y1: height - foot, y2: height - foot }));
    (options.turns || []).forEach(function (at) { svg.appendChild(make("line", { class: "turn", x1: x(at), x2: x(at), y1: top, y2: height - foot })); });
    (options.levels || []).forEach(function (one) {
      svg.appendChild(make("line", { class: "p", x1: left, x2: width - right, y1: y(one.value), y2: y(one.value) }));
      svg.appendChild(make("text", { x: width - right, y: y(one.value) - 2, "text-anchor": "end" }, one.name));
    });
    [0, most / 1.08].forEach(function (value) {
      svg.appendChild(make("text", { x: left - 5, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(1)));
    });
    svg.appendChild(make("text", { x: width - right, y: height - 4, "text-anchor": "end" }, options.foot || "token " + count));
    lines.forEach(function (line) {
      if (!line.values.length) return;
      var path = line.values.map(function (value, at) { return (at ? "L" : "M") + x(line.at ? line.at[at] : at).toFixed(1) + " " + y(value).toFixed(1); }).join("");
      svg.appendChild(make("path", { class: "line " + line.kind, d: path }));
      if (line.dots) line.values.forEach(function (value, at) { svg.appendChild(make("circle", { class: line.kind, r: 3, cx: x(line.at ? line.at[at] : at), cy: y(value) })); });
    });
    (options.marks || []).forEach(function (one) { svg.appendChild(make("circle", { class: "alarm", r: 4, cx: x(one.at), cy: y(one.value) })); });
  }

  function copy(text, button) {
    var before = button.textContent;
    function told(word) { button.textContent = word; window.setTimeout(function () { button.textContent = before; }, 1500); }
    if (!navigator.clipboard) { window.prompt("Copy this:", text); return; }
    navigator.clipboard.writeText(text).then(function () { told("Copied"); }, function () { window.prompt("Copy this:", text); });
  }

  return { stream: stream, post: post, said: said, token: token, colour: colour, smooth: smooth, trace: trace, copy: copy };
})();
