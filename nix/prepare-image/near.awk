# Prints up to three of the names on standard input that are nearest to `wanted`:
# by Damerau-Levenshtein distance (optimal string alignment), ignoring case,
# nearest first and then in byte order. Names further than two edits away (one,
# for a name of up to three characters) are not near.

BEGIN {
  lowered = tolower(wanted)
  length_wanted = length(lowered)
  for (i = 1; i <= length_wanted; i++) letter[i] = substr(lowered, i, 1)
  limit = length_wanted <= 3 ? 1 : 2
  width = length_wanted + 8
}

# The distance of `name` from the wanted one, or limit + 1 if it is further than
# the limit. Only the diagonal band that can stay within the limit is computed,
# in three rows that are used in turn, and a row beyond the limit ends it.
function distance(name, length_name,    i, j, from, to, row, above, above2, c, previous, best, lowest) {
  for (j = 0; j <= limit + 1; j++) cell[j] = j
  previous = ""
  for (i = 1; i <= length_name; i++) {
    c = substr(name, i, 1)
    row = (i % 3) * width
    above = ((i + 2) % 3) * width
    above2 = ((i + 1) % 3) * width
    from = i - limit; if (from < 1) from = 1
    to = i + limit; if (to > length_wanted) to = length_wanted
    cell[row + from - 1] = from == 1 ? i : limit + 1
    lowest = cell[row + from - 1]
    for (j = from; j <= to; j++) {
      best = cell[above + j - 1] + (c != letter[j])
      if (j < i + limit && cell[above + j] + 1 < best) best = cell[above + j] + 1
      if (cell[row + j - 1] + 1 < best) best = cell[row + j - 1] + 1
      if (i > 1 && j > 1 && c == letter[j - 1] && previous == letter[j] \
          && cell[above2 + j - 2] + 1 < best) best = cell[above2 + j - 2] + 1
      cell[row + j] = best
      if (best < lowest) lowest = best
    }
    if (lowest > limit) return limit + 1
    previous = c
  }
  return cell[(length_name % 3) * width + length_wanted]
}

function closer(d, name, slot) {
  return slot > kept || d < kept_distance[slot] || (d == kept_distance[slot] && name < kept_name[slot])
}

# Only what a client could ask for is of use to it.
!/^[A-Za-z0-9_][A-Za-z0-9_+-]*$/ { next }

{
  n = length($0)
  if (n > length_wanted + limit || n < length_wanted - limit) next
  d = distance(tolower($0), n)
  if (d > limit || !closer(d, $0, 3)) next
  slot = kept < 3 ? ++kept : 3
  kept_distance[slot] = d
  kept_name[slot] = $0
  for (; slot > 1 && closer(d, $0, slot - 1); slot--) {
    kept_distance[slot] = kept_distance[slot - 1]; kept_name[slot] = kept_name[slot - 1]
    kept_distance[slot - 1] = d; kept_name[slot - 1] = $0
  }
}

END { for (i = 1; i <= kept; i++) print kept_name[i] }
