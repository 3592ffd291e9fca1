// SPDX-License-Identifier: GPL-2.0-or-later
// Objects, typed arrays, closures, regular expressions: enough for V8's compilers to wake up.
function fib(n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
class P { constructor(x, y) { this.x = x; this.y = y; } add(o) { return new P(this.x + o.x, this.y + o.y); } }
let p = new P(0, 0), sum = 0;
for (let i = 0; i < 300000; i++) p = p.add(new P(i & 7, i % 3));
const f = new Float64Array(20000);
for (let r = 0; r < 30; r++) for (let i = 1; i < f.length; i++) f[i] = f[i - 1] * 0.5 + i;
const words = new Map();
for (let i = 0; i < 30000; i++) { const w = "w" + (i * 7919 % 1013); words.set(w, (words.get(w) || 0) + i); }
for (const [w, n] of words) if (/^w(\d)\1/.test(w)) sum += n;
console.log(p.x, p.y, f[19999], sum, fib(24));
