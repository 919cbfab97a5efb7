// Two texts word by word: what both have, and what only one of them has.

export const words = (text) => text.split(/\s+/).filter(Boolean).slice(0, 600);

// Longest common words, in order: [kind, word], the kind "both", "before" (only the first has it) or "after".
export function align(before, after) {
  const table = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      table[i][j] = before[i] === after[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    }
  }
  const parts = [];
  let i = 0, j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && before[i] === after[j]) { parts.push(["both", before[i]]); i++; j++; }
    else if (j >= after.length || (i < before.length && table[i + 1][j] >= table[i][j + 1])) parts.push(["before", before[i++]]);
    else parts.push(["after", after[j++]]);
  }
  return parts;
}
