/* Judges snapshots with libvterm: one terminal is fed with what the program wrote, another, which was used before, with the
 * snapshot; cells, pen, cursor, properties must be the same, and stay so when both are fed with the continuation.
 *
 *   cc -O1 -o vterm_oracle vterm_oracle.c -lvterm && ./vterm_oracle vterm_allowed.txt < cases.json
 *
 * Reads what `snapshot_cases` prints: one case a line. Exits 1 if a case differs that is not allowed to, or the other way
 * round. The list has lines `name: reason`. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vterm.h>

#define USED "\x1b[31mold\x1b[?1049h\x1b[2;4r\x1b[?6h\x1b[4h\x1b(0\x1b[?25l\x1b[?1003h\x1b[?1006h\x1b[5 qrubbish"

struct term {
  VTerm *vt;
  VTermScreen *screen;
  int visible, blink, alt, reverse, shape, mouse;
  char title[512], icon[512];
};

static void text(char *to, VTermValue *v) { snprintf(to, 512, "%s", v->string ? v->string : ""); }

static int settermprop(VTermProp prop, VTermValue *v, void *user) {
  struct term *t = user;
  switch (prop) {
  case VTERM_PROP_CURSORVISIBLE: t->visible = v->boolean; break;
  case VTERM_PROP_CURSORBLINK: t->blink = v->boolean; break;
  case VTERM_PROP_ALTSCREEN: t->alt = v->boolean; break;
  case VTERM_PROP_REVERSE: t->reverse = v->boolean; break;
  case VTERM_PROP_CURSORSHAPE: t->shape = v->number; break;
  case VTERM_PROP_MOUSE: t->mouse = v->number; break;
  case VTERM_PROP_TITLE: text(t->title, v); break;
  case VTERM_PROP_ICONNAME: text(t->icon, v); break;
  default: break;
  }
  return 1;
}

static const VTermScreenCallbacks callbacks = { .settermprop = settermprop };

static void make(struct term *t, int rows, int cols) {
  memset(t, 0, sizeof *t);
  t->vt = vterm_new(rows, cols);
  vterm_set_utf8(t->vt, 1);
  t->screen = vterm_obtain_screen(t->vt);
  vterm_screen_set_callbacks(t->screen, &callbacks, t);
  vterm_screen_enable_altscreen(t->screen, 1);
  vterm_screen_reset(t->screen, 1);
}

static void color(char *to, VTermColor c) {
  if (VTERM_COLOR_IS_DEFAULT_FG(&c) || VTERM_COLOR_IS_DEFAULT_BG(&c)) strcpy(to, "-");
  else if (VTERM_COLOR_IS_INDEXED(&c)) sprintf(to, "%d", c.indexed.idx);
  else sprintf(to, "%02x%02x%02x", c.rgb.red, c.rgb.green, c.rgb.blue);
}

static void cell(struct term *t, int y, int x, char *to) {
  VTermScreenCell c;
  VTermPos pos = { y, x };
  char fg[16], bg[16];
  vterm_screen_get_cell(t->screen, pos, &c);
  color(fg, c.fg);
  color(bg, c.bg);
  /* A blank shows its background only. */
  if (c.chars[0] == 0 || c.chars[0] == (uint32_t)-1) {
    sprintf(to, "%s %s", c.chars[0] ? "half" : "blank", c.chars[0] ? "" : bg);
    return;
  }
  to += sprintf(to, "%s/%s b%d u%d i%d k%d r%d s%d w%d", fg, bg, c.attrs.bold, c.attrs.underline, c.attrs.italic,
                c.attrs.blink, c.attrs.reverse, c.attrs.strike, c.width);
  for (int i = 0; i < VTERM_MAX_CHARS_PER_CELL && c.chars[i]; i++) to += sprintf(to, " %x", c.chars[i]);
}

/* Says what differs; 0 if nothing. */
static int differ(const char *name, const char *when, struct term *a, struct term *b, int rows, int cols, int quiet) {
  char p[256], q[256];
  int n = 0;
#define SAY(...) do { if (!quiet && n < 5) fprintf(stderr, "%s %s: ", name, when), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr); n++; } while (0)
  for (int y = 0; y < rows; y++)
    for (int x = 0; x < cols; x++) {
      cell(a, y, x, p);
      cell(b, y, x, q);
      if (strcmp(p, q)) SAY("row %d column %d: %s != %s", y, x, p, q);
    }
  VTermState *s = vterm_obtain_state(a->vt), *r = vterm_obtain_state(b->vt);
  VTermPos i, j;
  vterm_state_get_cursorpos(s, &i);
  vterm_state_get_cursorpos(r, &j);
  if (i.row != j.row || i.col != j.col) SAY("cursor %d,%d != %d,%d", i.row, i.col, j.row, j.col);
  for (int k = 1; k < VTERM_N_ATTRS; k++) {
    VTermValue v = {0}, w = {0};
    if (!vterm_state_get_penattr(s, k, &v) || !vterm_state_get_penattr(r, k, &w)) continue;
    if (k == VTERM_ATTR_FOREGROUND || k == VTERM_ATTR_BACKGROUND) {
      color(p, v.color);
      color(q, w.color);
      if (strcmp(p, q)) SAY("pen colour %s != %s", p, q);
    } else if (v.number != w.number) SAY("pen %d: %d != %d", k, v.number, w.number);
  }
  for (int k = 0; k < 256; k++) {
    VTermColor v, w;
    vterm_state_get_palette_color(s, k, &v);
    vterm_state_get_palette_color(r, k, &w);
    color(p, v);
    color(q, w);
    if (strcmp(p, q)) SAY("palette %d: %s != %s", k, p, q);
  }
#define PROP(x) if (a->x != b->x) SAY(#x " %d != %d", a->x, b->x)
  PROP(visible); PROP(alt); PROP(reverse); PROP(shape); PROP(mouse);
  if (strcmp(a->title, b->title)) SAY("title %s != %s", a->title, b->title);
  if (strcmp(a->icon, b->icon)) SAY("icon %s != %s", a->icon, b->icon);
  return n;
}

static char *field(char *line, const char *key) {
  char want[64];
  sprintf(want, "\"%s\":", key);
  char *at = strstr(line, want);
  if (!at) return NULL;
  at += strlen(want);
  return *at == '"' ? at + 1 : at;
}

static size_t decode(const char *from, char *to) {
  size_t n = 0;
  uint32_t v = 0;
  int bits = 0;
  for (; *from && *from != '"' && *from != '='; from++) {
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    v = v << 6 | (uint32_t)(strchr(set, *from) - set);
    if ((bits += 6) >= 8) to[n++] = (char)(v >> (bits -= 8));
  }
  return n;
}

static void write_field(struct term *t, char *line, const char *key) {
  char *from = field(line, key);
  char *bytes = malloc(strlen(from) + 4);
  size_t n = decode(from, bytes);
  vterm_input_write(t->vt, bytes, n);
  free(bytes);
}

static int allowed(const char *list, const char *name) {
  char want[192];
  sprintf(want, "\n%s:", name);
  if (strstr(list, want)) return 1;
  /* `htop-*` stands for all cuts of that recording; which of them show it depends on the recording. */
  char *dash = strrchr(name, '-');
  sprintf(want, "\n%.*s-*:", dash ? (int)(dash - name) : 0, name);
  return dash && strstr(list, want) ? 2 : 0;
}

int main(int argc, char **argv) {
  static char list[65536] = "\n";
  if (argc > 1) {
    FILE *f = fopen(argv[1], "r");
    if (f) list[1 + fread(list + 1, 1, sizeof list - 2, f)] = 0, fclose(f);
  }
  char *line = NULL;
  size_t room = 0;
  int cases = 0, exact = 0, bad = 0;
  while (getline(&line, &room, stdin) > 0) {
    char *n = field(line, "name");
    if (!n) continue;
    char name[128];
    sscanf(n, "%127[^\"]", name);
    /* Random streams of wide and combined characters: see vterm_allowed.txt. */
    if (!strncmp(name, "random-", 7) || !strncmp(name, "xterm-", 6) || !strncmp(name, "kitty-", 6)) continue;
    int cols = atoi(field(line, "cols")), rows = atoi(field(line, "rows"));
    struct term a, b;
    make(&a, rows, cols);
    make(&b, rows, cols);
    int may = allowed(list, name);
    write_field(&a, line, "original");
    vterm_input_write(b.vt, USED, strlen(USED));
    write_field(&b, line, "snapshot");
    int d = differ(name, "now", &a, &b, rows, cols, may);
    write_field(&a, line, "continuation");
    write_field(&b, line, "continuation");
    d += differ(name, "then", &a, &b, rows, cols, may);
    cases++;
    if (!d) exact++;
    if (d ? !may : may == 1) {
      bad++;
      if (!d) fprintf(stderr, "%s: is allowed to differ and does not\n", name);
    }
    vterm_free(a.vt);
    vterm_free(b.vt);
  }
  fprintf(stderr, "%d cases, %d exact, %d wrong\n", cases, exact, bad);
  return bad != 0;
}
