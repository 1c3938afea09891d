/* names.h: what the programs that go through a list of names share. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The monotonic clock, in seconds. */
static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Reads the names in FILE, one a line, with SUFFIX appended; ends the program if it cannot. */
static char **read_names(const char *file, const char *suffix, size_t *count)
{
    char line[8192], **names = NULL;
    size_t room = 0;
    FILE *list = fopen(file, "r");
    if (!list)
        exit(2);
    *count = 0;
    while (fgets(line, sizeof line - 64, list)) {
        line[strcspn(line, "\n")] = 0;
        strncat(line, suffix, 32);
        if (*count == room) {
            room = room ? 2 * room : 1024;
            names = realloc(names, room * sizeof *names);
            if (!names)
                exit(2);
        }
        names[(*count)++] = strdup(line);
    }
    fclose(list);
    return names;
}
