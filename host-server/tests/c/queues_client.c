/* A client of `queues`, written from its document alone.
 *
 *   talk KEY OWN1 OWN2     two users, ola and jan, through every operation
 *   hold KEY LOGIN         logs in with its PID as the key of its queue, and stays
 *   blocked KEY OWN1 OWN2  39 messages lie unread for a client that waits for an answer
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <time.h>
#include <unistd.h>

struct message {
    long type;
    char text[400];
    int address;
    time_t message_time;
};

struct client {
    int key, queue, index;
};

static int server;

#define CHECK(what)                                                                     \
    do {                                                                                \
        if (!(what)) {                                                                  \
            fprintf(stderr, "line %d: not so: %s\n", __LINE__, #what);                  \
            exit(1);                                                                    \
        }                                                                               \
    } while (0)

/* `short_by`: bytes of the struct's end that are not sent, as by a program without the time. */
static void give_short(long type, int address, const char *text, int short_by) {
    struct message m;
    memset(&m, 0, sizeof m);
    m.type = type;
    m.address = address;
    m.message_time = time(NULL);
    snprintf(m.text, sizeof m.text, "%s", text);
    CHECK(msgsnd(server, &m, sizeof m - sizeof m.type - short_by, 0) == 0);
}

static void give(long type, int address, const char *text) {
    give_short(type, address, text, 0);
}

static volatile int waits_at;

static void too_long(int signal) {
    (void)signal;
    fprintf(stderr, "line %d: waited in vain\n", waits_at);
    _exit(1);
}

/* Seconds that nothing takes longer than, on a machine that does other things beside: a message,
 * and all of it. */
#define LONG 120
#define ALL 1200

static struct message get_at(struct client *c, long type, int line) {
    waits_at = line;
    struct message m;
    memset(&m, 0, sizeof m);
    alarm(LONG);
    CHECK(msgrcv(c->queue, &m, sizeof m - sizeof m.type, type, 0) == sizeof m - sizeof m.type);
    alarm(ALL);
    return m;
}

#define get(c, type) get_at(c, type, __LINE__)

static const char *answer_at(struct client *c, long type, int line) {
    static struct message m;
    m = get_at(c, type, line);
    CHECK(m.address == c->key);
    return m.text;
}

#define answer(c, type) answer_at(c, type, __LINE__)

static struct client open_client(int key) {
    struct client c = {.key = key, .queue = msgget(key, IPC_CREAT | 0600)};
    CHECK(c.queue >= 0);
    return c;
}

/* The two messages of a log-in, each with its answer, and the index that follows. */
static void log_in_at(struct client *c, const char *login, const char *password, int line) {
    give(100, c->key, login);
    CHECK(strcmp(answer_at(c, 100, line), "poprawne") == 0);
    give(100, c->key, password);
    CHECK(strcmp(answer_at(c, 100, line), "poprawne") == 0);
    c->index = atoi(answer_at(c, 100, line));
    CHECK(c->index > 0);
}

#define log_in(c, login, password) log_in_at(c, login, password, __LINE__)

static const char *number(int n) {
    static char text[16];
    snprintf(text, sizeof text, "%d", n);
    return text;
}

static void close_client(struct client *c) {
    CHECK(msgctl(c->queue, IPC_RMID, NULL) == 0);
}

static void talk(int first, int second) {
    struct client ola = open_client(first), jan = open_client(second);
    char text[400], line[64];
    struct message m;

    log_in(&ola, "ola", "pw-of-ola");
    /* A step that is wrong is tried again. */
    give(100, jan.key, "ola");
    CHECK(strcmp(answer(&jan, 100), "error") == 0);
    log_in(&jan, "jan", "pw-of-jan");
    CHECK(ola.index != jan.index);

    give(13, ola.key, number(ola.index));
    strcpy(text, answer(&ola, 13));
    snprintf(line, sizeof line, "%d ola\n", ola.index);
    CHECK(strstr(text, line) != NULL);
    snprintf(line, sizeof line, "%d jan\n", jan.index);
    CHECK(strstr(text, line) != NULL);

    /* Join: two messages, one answer. Both as the document has it and with the halves in one. */
    give(14, ola.key, number(ola.index));
    give(14, ola.key, "1");
    CHECK(answer(&ola, 14)[0] == '1');
    snprintf(text, sizeof text, "%d/1", jan.index);
    give(14, jan.key, text);
    CHECK(answer(&jan, 14)[0] == '1');
    give(16, ola.key, "1");
    snprintf(text, sizeof text, "%d ola\n%d jan\n", ola.index, jan.index);
    CHECK(strcmp(answer(&ola, 16), text) == 0);

    /* To the group: with its number, and with the sender's key. */
    time_t before = time(NULL);
    snprintf(text, sizeof text, "1/do grupy");
    give(19, ola.key, text);
    m = get(&jan, 19);
    CHECK(m.address == 1 && strcmp(m.text, "ola: do grupy") == 0);
    CHECK(m.message_time >= before && m.message_time <= time(NULL));
    give(19, 1, "bez nadawcy");
    m = get(&jan, 19);
    CHECK(strcmp(m.text, "bez nadawcy") == 0);
    m = get(&ola, 19);
    CHECK(strcmp(m.text, "bez nadawcy") == 0);

    /* To a person: the document's struct, its section 7, and without the time. */
    give(ola.index, jan.index, "od oli");
    m = get(&jan, ola.index);
    CHECK(strcmp(m.text, "od oli") == 0 && m.address == jan.key);
    give(ola.index, jan.key, "od jana");
    m = get(&ola, jan.index);
    CHECK(strcmp(m.text, "od jana") == 0 && m.address == ola.key);
    give_short(ola.index, jan.index, "bez czasu", 12);
    m = get(&jan, ola.index);
    CHECK(strcmp(m.text, "bez czasu") == 0);
    memset(text, 'x', 399);
    text[399] = 0;
    give(jan.index, ola.index, text);
    m = get(&ola, jan.index);
    CHECK(strcmp(m.text, text) == 0);

    give(15, jan.key, number(jan.index));
    give(15, jan.key, "1");
    CHECK(answer(&jan, 15)[0] == '0');
    give(16, jan.key, "1");
    snprintf(text, sizeof text, "%d ola\n", ola.index);
    CHECK(strcmp(answer(&jan, 16), text) == 0);

    /* Out, and what is sent meanwhile comes after the next log-in. */
    give(12, jan.key, number(jan.index));
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "pozniej %d", i);
        give(ola.index, jan.index, text);
    }
    log_in(&jan, "jan", "pw-of-jan");
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "pozniej %d", i);
        m = get(&jan, ola.index);
        CHECK(strcmp(m.text, text) == 0);
    }
    give(12, ola.key, number(ola.index));
    give(12, jan.key, number(jan.index));
    close_client(&ola);
    close_client(&jan);
}

/* The queue holds 39 messages; a client that asks for a list does not read them first. */
static void blocked(int first, int second) {
    struct client ola = open_client(first), jan = open_client(second);
    char text[64];
    log_in(&ola, "ola", "x");
    log_in(&jan, "jan", "x");
    for (int i = 0; i < 39; i++) {
        snprintf(text, sizeof text, "nr %d", i);
        give(ola.index, jan.index, text);
    }
    /* An answer to her shows that all of that was taken. */
    give(13, ola.key, number(ola.index));
    answer(&ola, 13);
    for (int i = 0; i < 39; i++) {
        give(13, jan.key, number(jan.index));
        answer(&jan, 13);
    }
    for (int i = 0; i < 39; i++) {
        struct message m = get(&jan, ola.index);
        snprintf(text, sizeof text, "nr %d", i);
        CHECK(strcmp(m.text, text) == 0);
    }
    close_client(&ola);
    close_client(&jan);
}

int main(int argc, char **argv) {
    CHECK(argc >= 4);
    server = msgget(atoi(argv[2]), 0);
    CHECK(server >= 0);
    signal(SIGALRM, too_long);
    alarm(ALL);
    if (strcmp(argv[1], "talk") == 0) {
        talk(atoi(argv[3]), atoi(argv[4]));
    } else if (strcmp(argv[1], "blocked") == 0) {
        blocked(atoi(argv[3]), atoi(argv[4]));
    } else {
        struct client c = open_client(getpid());
        log_in(&c, argv[3], "x");
        printf("%d\n", c.index);
        fflush(stdout);
        pause();
    }
    return 0;
}
