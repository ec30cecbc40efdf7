/* chart.h — a line chart as inline SVG, for pages that must show without any script or library. */
#ifndef FD_CLI_CHART_H
#define FD_CLI_CHART_H

#include <stdbool.h>
#include <stdio.h>

#define FD_CHART_LINES 6

typedef struct {
    const char *title;
    bool log;                                  /* logarithmic y; values that are not positive are left out */
    int n;                                     /* points */
    const double *x;                           /* [n], ascending */
    int lines;
    const char *name[FD_CHART_LINES];
    const double *y[FD_CHART_LINES];           /* [n]; NaN: no value here */
} fd_chart;

/* Writes one <svg> element; nothing when no line has two points. Write errors stay in f (ferror). */
void fd_chart_write(FILE *f, const fd_chart *c);

#endif
