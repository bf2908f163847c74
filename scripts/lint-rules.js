/**
 * Lint rules of our own, for what oxlint has no rule for. JavaScript, because oxlint loads them on Node 20.
 * @module
 */
const hint = "Ask the injected clock (core/clock.ts): its time can be held by a test.";

/** Forbids reading the machine's clock: `Date.now()`, `new Date()` without a time, `Date()`. `new Date(ms)` is only a format. */
const noWallClock = {
  create(context) {
    const report = (node) => context.report({ node, message: hint });
    const isDate = (node) => node.type === "Identifier" && node.name === "Date";
    return {
      NewExpression: (node) => isDate(node.callee) && node.arguments.length === 0 && report(node),
      CallExpression: (node) => isDate(node.callee) && report(node),
      MemberExpression: (node) => isDate(node.object) && node.property.name === "now" && report(node),
    };
  },
};

export default { meta: { name: "aftersave" }, rules: { "no-wall-clock": noWallClock } };
