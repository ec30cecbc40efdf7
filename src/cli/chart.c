#include "cli/chart.h"

#include <math.h>

enum { WIDTH = 460, HEIGHT = 220, LEFT = 58, RIGHT = 12, TOP = 28, BOTTOM = 44 };

static const char *const colours[FD_CHART_LINES] = {"#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#7f7f7f"};

static bool shown(const fd_chart *c, double y) { return isfinite(y) && (!c->log || y > 0); }
static double scaled(const fd_chart *c, double y) { return c->log ? log10(y) : y; }

/* Range of all values shown; false when there is nothing to draw. */
static bool find_range(const fd_chart *c, double *lo, double *hi) {
    int most = 0;
    *lo = INFINITY, *hi = -INFINITY;
    for (int k = 0; k < c->lines; k++) {
        int points = 0;
        for (int i = 0; i < c->n; i++) {
            if (!shown(c, c->y[k][i])) continue;
            points++;
            *lo = fmin(*lo, scaled(c, c->y[k][i]));
            *hi = fmax(*hi, scaled(c, c->y[k][i]));
        }
        if (points > most) most = points;
    }
    if (most < 2) return false;
    double room = *hi > *lo ? 0.05 * (*hi - *lo) : fmax(fabs(*hi), 1) * 0.05;
    *lo -= room, *hi += room;
    return true;
}

static void write_frame(FILE *f, const fd_chart *c, double lo, double hi) {
    fprintf(f, "<text x=\"%d\" y=\"17\" class=\"t\">%s</text>\n"
            "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"none\" stroke=\"#bbb\"/>\n",
            LEFT, c->title, LEFT, TOP, WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    for (int i = 0; i <= 4; i++) {
        double at = lo + (hi - lo) * i / 4, y = HEIGHT - BOTTOM - (double)(HEIGHT - TOP - BOTTOM) * i / 4;
        fprintf(f, "<text x=\"%d\" y=\"%.1f\" class=\"a\" text-anchor=\"end\">%.3g</text>\n", LEFT - 5, y + 3,
                c->log ? pow(10, at) : at);
        if (i % 4) fprintf(f, "<path d=\"M%d %.1fH%d\" stroke=\"#eee\"/>\n", LEFT, y, WIDTH - RIGHT);
    }
    fprintf(f, "<text x=\"%d\" y=\"%d\" class=\"a\">%.4g</text><text x=\"%d\" y=\"%d\" class=\"a\" text-anchor=\"end\">"
            "%.4g thousand images</text>\n", LEFT, HEIGHT - BOTTOM + 13, c->x[0], WIDTH - RIGHT, HEIGHT - BOTTOM + 13,
            c->x[c->n - 1]);
}

void fd_chart_write(FILE *f, const fd_chart *c) {
    double lo, hi;
    if (c->n < 2 || !find_range(c, &lo, &hi)) return;
    double first = c->x[0], span = c->x[c->n - 1] - first;
    fprintf(f, "<svg viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n", WIDTH, HEIGHT, WIDTH, HEIGHT);
    write_frame(f, c, lo, hi);
    int legend = LEFT;
    for (int k = 0; k < c->lines; k++) {
        bool pen = false;
        fprintf(f, "<path fill=\"none\" stroke-width=\"1.5\" stroke=\"%s\" d=\"", colours[k]);
        for (int i = 0; i < c->n; i++) {
            double y = c->y[k][i];
            bool draw = shown(c, y);
            if (draw) fprintf(f, "%c%.1f %.1f", pen ? 'L' : 'M',
                              LEFT + (WIDTH - LEFT - RIGHT) * (span > 0 ? (c->x[i] - first) / span : 0),
                              HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (scaled(c, y) - lo) / (hi - lo));
            pen = draw;
        }
        fprintf(f, "\"/>\n<text x=\"%d\" y=\"%d\" class=\"a\" fill=\"%s\">%s</text>\n", legend, HEIGHT - 10, colours[k],
                c->name[k]);
        int letters = 0;
        while (c->name[k][letters]) letters++;
        legend += 6 * letters + 14;
    }
    fprintf(f, "</svg>\n");
}
