#pragma once

namespace cfm::metrics {

// The page at "/". metrics/status_page.h.
inline constexpr const char* kStatusHtml = R"html(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>cfm</title>
<style>
:root { color-scheme: light dark; --line: #2a6fdb; --faint: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1rem; margin: 1.6rem 0 .4rem }
#bar { height: .5rem; background: var(--faint); border-radius: .25rem; margin: .6rem 0 1rem; overflow: hidden }
#bar div { height: 100%; width: 0; background: var(--line) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 0 }
dt { font-size: .8rem; opacity: .7 } dd { margin: 0; font-size: 1.1rem; font-variant-numeric: tabular-nums }
svg { width: 100%; height: 16rem; display: block; border: 1px solid var(--faint); border-radius: .3rem }
path { fill: none; stroke: var(--line); stroke-width: 1.5; vector-effect: non-scaling-stroke }
#phases { display: grid; grid-template-columns: max-content 1fr max-content; gap: .2rem .8rem; align-items: center }
#phases i { display: block; height: .7rem; background: var(--line); border-radius: .2rem; min-width: 1px }
#range { display: flex; justify-content: space-between; font-size: .8rem; opacity: .7 }
img { image-rendering: pixelated; max-width: 100%; min-width: 16rem }
#lost { color: #b00; font-weight: 600 }
</style></head><body>
<h1 id="run">cfm</h1><div id="stage" hidden></div><div id="lost" hidden>The run does not answer: it has ended, or the tunnel has.</div>
<div id="bar"><div></div></div>
<dl>
<div><dt>step</dt><dd id="step">-</dd></div><div><dt>time left</dt><dd id="eta">-</dd></div>
<div><dt>loss</dt><dd id="loss">-</dd></div><div><dt>images/s</dt><dd id="rate">-</dd></div>
<div><dt>gradient norm</dt><dd id="norm">-</dd></div><div><dt>learning rate</dt><dd id="lr">-</dd></div>
<div><dt>seconds a step</dt><dd id="seconds">-</dd></div><div><dt>last checkpoint</dt><dd id="checkpoint">-</dd></div>
</dl>
<h2>Loss (log scale)</h2><svg id="curve" viewBox="0 0 1000 300" preserveAspectRatio="none"><path></path></svg>
<div id="range"><span></span><span></span><span></span></div>
<h2>Where a step's time goes (mean over ranks)</h2><div id="phases"></div>
<div id="pictures" hidden><h2>Samples <span id="name"></span></h2><img id="samples" alt="the last grid of samples"></div>
<script>
const at = id => document.getElementById(id);
const short = x => x === null ? 'not finite' : Math.abs(x) >= 1e5 || (x && Math.abs(x) < 1e-3) ? x.toExponential(2) : +x.toPrecision(4) + '';
const two = n => String(n).padStart(2, '0');
const duration = s => s === null ? '-' : (s >= 86400 ? Math.floor(s / 86400) + ' d ' : '') + [Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, Math.floor(s) % 60].map(two).join(':');
const stages = {data: 'Starting: opening the data', weights: 'Starting: making the network, loading its checkpoint',
 'held-out': 'Looking at held-out images and samples'};
let shown = '';
function show(s) {
  document.title = s.run + ' ' + s.step + '/' + s.last_step;
  at('run').textContent = s.run;
  at('stage').hidden = !(s.stage in stages); at('stage').textContent = stages[s.stage] || '';
  at('bar').firstElementChild.style.width = 100 * s.step / Math.max(s.last_step, 1) + '%';
  at('step').textContent = s.step.toLocaleString('en') + ' of ' + s.last_step.toLocaleString('en');
  const moves = s.phases.length > 0;  // a step of this start is known of
  at('eta').textContent = moves ? duration(s.eta_seconds) : '-';
  for (const [id, x] of [['loss', s.loss], ['rate', s.images_per_second], ['norm', s.gradient_norm], ['lr', s.learning_rate], ['seconds', s.step_seconds]]) at(id).textContent = moves ? short(x) : '-';
  at('checkpoint').textContent = s.checkpoint ? 'step ' + s.checkpoint.toLocaleString('en') : 'none yet';
  const points = s.losses.filter(p => p[1] > 0).map(p => [p[0], Math.log10(p[1])]);
  if (points.length > 1) {
    const xs = points.map(p => p[0]), ys = points.map(p => p[1]);
    const x0 = Math.min(...xs), x1 = Math.max(...xs), y0 = Math.min(...ys), y1 = Math.max(...ys);
    at('curve').firstElementChild.setAttribute('d', points.map((p, i) => (i ? 'L' : 'M') + (1000 * (p[0] - x0) / (x1 - x0)).toFixed(1) + ' ' + (290 - 280 * (p[1] - y0) / (y1 - y0 || 1)).toFixed(1)).join(''));
    const words = at('range').children;
    words[0].textContent = 'step ' + x0; words[1].textContent = 'from ' + short(10 ** y1) + ' down to ' + short(10 ** y0); words[2].textContent = 'step ' + x1;
  }
  const most = Math.max(...s.phases.map(p => p[1]), 1e-9);
  at('phases').replaceChildren(...s.phases.flatMap(([name, seconds]) => {
    const label = document.createElement('span'), bar = document.createElement('i'), value = document.createElement('span');
    label.textContent = name; bar.style.width = 100 * seconds / most + '%'; value.textContent = (1000 * seconds).toFixed(1) + ' ms';
    return [label, bar, value];
  }));
  if (s.samples && s.samples !== shown) {
    shown = s.samples; at('pictures').hidden = false; at('name').textContent = s.samples; at('samples').src = 'samples.png?' + encodeURIComponent(s.samples);
  }
}
async function look() {
  try { show(await (await fetch('status.json')).json()); at('lost').hidden = true; } catch { at('lost').hidden = false; }
  setTimeout(look, 1500);
}
look();
</script></body></html>
)html";

}  // namespace cfm::metrics
