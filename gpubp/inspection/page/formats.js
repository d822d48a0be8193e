// How numbers are written.

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";

const signed = (value, digits) => (value < 0 && digits !== "0" ? `−${digits}` : digits);

/** Write a size as so many digits times a power of ten. */
function byPower(size, digits) {
  const [first, power] = size.toExponential(digits - 1).split("e");
  const raised = [...power.replace("+", "")].map((each) => (each === "-" ? "⁻" : RAISED[each]));
  return `${first.replace(/\.0*$|(\.\d*?)0+$/, "$1")}×10${raised.join("")}`;
}

/** Write a number with at most nine digits, and a true minus sign. */
export function formatNumber(value, digits = 9) {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-5)) return signed(value, byPower(size, Math.max(1, digits - 4)));
  return signed(value, String(Number(size.toPrecision(digits))));
}

/** Write a number for a small place: few digits, one and a power of ten where it is tiny. */
export function shortNumber(value, digits = 3) {
  const size = Math.abs(value);
  if (size === 0 || !Number.isFinite(value)) return formatNumber(value);
  if (size < 1e-3 || size >= 1e4) return signed(value, byPower(size, 1));
  return signed(value, String(Number(size.toPrecision(size < 1e-2 ? 2 : digits))));
}

/** Write a number that stands in a product. */
export const factorText = (value) => (value < 0 ? `(${formatNumber(value)})` : formatNumber(value));
