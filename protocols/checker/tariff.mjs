// protocols/charter: what work costs, in whole numbers.

const FAMILIES = ["sd1", "sdxl", "sd3", "flux", "other"];
const ONE = 10n ** 6n; // fixed point
const MOST = 2n ** 40n;

const up = (number, divisor) => (number + divisor - 1n) / divisor;
const least = (...numbers) => numbers.reduce((a, b) => (a < b ? a : b));
const most = (...numbers) => numbers.reduce((a, b) => (a > b ? a : b));

function root(square) {
  let [low, high] = [0n, square + 1n];
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    [low, high] = middle * middle <= square ? [middle, high] : [low, middle];
  }
  return low;
}

// base to the power of so many eighths
const power = (base, eighths) => root(root(root((base ** eighths * ONE ** 8n) / ONE ** eighths)));

const SIDES = { sd1: 512n, sdxl: 1024n, sd3: 1024n, flux: 1024n };

// [pixels, steps] of each pass in which a picture is drawn
function passes({ width, height, steps, family, hires_fix, source }) {
  const [pixels, side] = [width * height, SIDES[family]];
  if (!hires_fix || source || side === undefined || 5n * pixels < 6n * side * side) return [[pixels, steps]];
  return [[side * side, steps], [pixels, most(1n, (6n * steps) / 10n)]];
}

const enlarging = (t, pixels) => t.upscale_tile_mkudos * most(1n, up(pixels, 2048n * 2048n));

const CORES = {
  image(t, w) {
    const factors = [t.step_mkudos, t.families_permille[FAMILIES.indexOf(w.family)]];
    if (w.source) factors.push(t.source_permille);
    if (w.controlnet) factors.push(t.controlnet_permille);
    for (let each = 0; each < w.post_processors; each += 1) factors.push(t.post_processor_permille);
    const drawing = passes(w).map(([pixels, steps]) => {
      const x = most(0n, ((pixels - 4096n) * ONE) / (2n ** 20n - 4096n));
      return (steps + t.overhead_steps) * (ONE + (t.area_permille * power(x, t.area_exponent_permille / 125n)) / 1000n);
    });
    const core = factors.reduce((sum, factor) => sum * factor, drawing.reduce((sum, one) => sum + one));
    const grown = w.enlarge > 1n ? enlarging(t, w.width * w.height * w.enlarge ** 2n) : 0n;
    const extras = t.lora_mkudos * w.loras + (w.inversions ? t.inversions_mkudos : 0n) + grown;
    const surcharge = w.shared && !w.source && !w.controlnet ? t.shared_mkudos : t.surcharge_mkudos;
    return up(core, ONE * 1000n ** BigInt(factors.length - 1)) + extras + surcharge;
  },
  alchemy(t, w) {
    const core = { interrogation: t.interrogation_mkudos, upscale: enlarging(t, w.pixels) }[w.form] ?? t.alchemy_mkudos;
    return core + t.alchemy_surcharge_mkudos;
  },
  text(t, w) {
    const wide = least(30n * ONE, (12n * ONE) / 10n + power((w.context * ONE) / 1024n, 9n));
    const large = power((most(w.model_millions, 13_000n) * ONE) / 13_000n, 2n);
    return up(t.token_mkudos * w.tokens * w.model_millions * large * wide, 1000n * ONE * ONE) + t.text_surcharge_mkudos;
  },
};

const exact = (value) => (typeof value === "number" ? BigInt(value) : Array.isArray(value) ? value.map(exact) : value);
const allExact = (record) => Object.fromEntries(Object.entries(record).map(([name, value]) => [name, exact(value)]));

export function price(tariff, work) {
  return Number(least(MOST, CORES[work.work](allExact(tariff), allExact(work))));
}
