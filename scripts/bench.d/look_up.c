/* look_up LIST [SUFFIX]: calls lstat on every name in LIST, one a line, relative to the
 * working directory, with SUFFIX appended; prints "seconds S". With a SUFFIX the names
 * have to be absent, without one they have to be there. */
#include <sys/stat.h>

#include "names.h"

int main(int argc, char **argv)
{
    const char *suffix = argc > 2 ? argv[2] : "";
    size_t count, wrong = 0;
    struct stat status;
    if (argc < 2)
        return 2;
    char **names = read_names(argv[1], suffix, &count);
    double start = now();
    for (size_t i = 0; i < count; i++)
        if ((lstat(names[i], &status) == 0) == (*suffix != 0))
            wrong++;
    printf("seconds %.6f\n", now() - start);
    if (wrong)
        fprintf(stderr, "%zu of %zu look-ups not as expected\n", wrong, count);
    return wrong != 0;
}
