/* A client of `topics` written from its protocol document alone, the structs as it prints them.
 * It goes through every operation and exits with 0 if the server did as the document says.
 * Usage: topics_client SERVER_KEY WRITER_KEY STRANGER_KEY, against a server with room for two
 * clients and two topics. The reader's key is its PID. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <unistd.h>

#define NAME_LENGTH 30
#define MESSAGE_LENGTH 1024

struct client_msgf{
  long type;
  int id;
  int topic;
  int number;
  char text[MESSAGE_LENGTH];
};

struct text_msg{
  long type;
  int info;
  char text[MESSAGE_LENGTH+NAME_LENGTH+2];
};

enum { LOGIN = 1, NEW_TOPIC, SUBSCRIBE, PUBLISH, ALL_TOPICS, MY_TOPICS, SHUT_DOWN };
enum { LIST = 1, RESULT = 2, ENDED = 3, TOPIC = 4 };

#define CLIENT_SIZE (sizeof(struct client_msgf) - sizeof(long))
#define TEXT_SIZE (sizeof(struct text_msg) - sizeof(long))

static int server, queues[3] = {-1, -1, -1};

static void remove_queues(void)
{
  for (int i = 0; i < 3; i++)
    if (queues[i] != -1)
      msgctl(queues[i], IPC_RMID, NULL);
}

static void too_long(int signal)
{
  (void)signal;
  remove_queues();
  static const char said[] = "waited in vain\n";
  if (write(2, said, sizeof said - 1) < 0)
    _exit(3);
  _exit(2);
}

static void check(int good, int line, const char *what)
{
  if (good)
    return;
  fprintf(stderr, "topics_client.c:%d: %s (errno: %s)\n", line, what, strerror(errno));
  exit(1);
}
#define CHECK(good) check(good, __LINE__, #good)

struct client { int key, queue, id; };

static void ask(int type, int id, int topic, int number, const char *text)
{
  struct client_msgf m;
  memset(&m, 0, sizeof m);
  m.type = type;
  m.id = id;
  m.topic = topic;
  m.number = number;
  strncpy(m.text, text, MESSAGE_LENGTH - 1);
  CHECK(msgsnd(server, &m, CLIENT_SIZE, 0) == 0);
}

static struct text_msg next(int queue, long type)
{
  struct text_msg m;
  memset(&m, 'x', sizeof m);
  CHECK(msgrcv(queue, &m, TEXT_SIZE, type, 0) >= (ssize_t)sizeof(int));
  return m;
}

static int nothing(int queue, long type)
{
  struct text_msg m;
  return msgrcv(queue, &m, TEXT_SIZE, type, IPC_NOWAIT) == -1 && errno == ENOMSG;
}

static int log_in(struct client *c, const char *name)
{
  ask(LOGIN, c->key, 0, 0, name);
  c->id = next(server, c->key).info;
  return c->id;
}

static int result(struct client *c)
{
  return next(c->queue, RESULT).info;
}

static void line(struct client *c, const char *text)
{
  struct text_msg m = next(c->queue, LIST);
  check(strcmp(m.text, text) == 0, __LINE__, text);
}

static void message(struct client *c, long type, int info, const char *text)
{
  struct text_msg m = next(c->queue, type);
  check(strcmp(m.text, text) == 0, __LINE__, text);
  check(type == ENDED || m.info == info, __LINE__, "the priority");
}

static void publish(struct client *c, int topic, int priority, const char *text)
{
  ask(PUBLISH, c->id, topic, priority, text);
  check(result(c) == 0, __LINE__, text);
}

int main(int argc, char **argv)
{
  CHECK(argc == 4);
  atexit(remove_queues);
  signal(SIGALRM, too_long);
  alarm(120);
  CHECK(sizeof(struct client_msgf) == 1048 && sizeof(struct text_msg) == 1072);

  server = msgget(atoi(argv[1]), 0);
  CHECK(server != -1);
  struct client reader = {getpid(), -1, -1}, writer = {atoi(argv[2]), -1, -1};
  struct client stranger = {atoi(argv[3]), -1, -1};
  struct client *all[3] = {&reader, &writer, &stranger};
  for (int i = 0; i < 3; i++) {
    all[i]->queue = queues[i] = msgget(all[i]->key, IPC_CREAT | IPC_EXCL | 0600);
    CHECK(all[i]->queue != -1);
  }

  /* Logging in. */
  CHECK(log_in(&reader, "ola") >= 0);
  CHECK(log_in(&stranger, "ola") == -1);
  CHECK(log_in(&writer, "jan") >= 0 && writer.id != reader.id);
  CHECK(log_in(&stranger, "ewa") == -2);

  /* Topics, and how many there may be. */
  ask(NEW_TOPIC, writer.id, 0, 0, "pogoda");
  CHECK(result(&writer) == 0);
  ask(NEW_TOPIC, writer.id, 0, 0, "pogoda");
  CHECK(result(&writer) == 1);
  ask(NEW_TOPIC, reader.id, 0, 1, "sport");
  CHECK(result(&reader) == 0);
  ask(NEW_TOPIC, reader.id, 0, 2, "kino");
  CHECK(result(&reader) == 2);

  /* Lists of all topics and of one's own. */
  ask(ALL_TOPICS, writer.id, 0, 0, "");
  line(&writer, "0. pogoda");
  line(&writer, "1. sport");
  line(&writer, "");
  ask(MY_TOPICS, reader.id, 0, 0, "");
  line(&reader, "");
  ask(SUBSCRIBE, reader.id, 0, 2, "");
  CHECK(result(&reader) == 0);
  ask(SUBSCRIBE, reader.id, 1, -1, "");
  CHECK(result(&reader) == 0);
  ask(SUBSCRIBE, reader.id, 2, -1, "");
  CHECK(result(&reader) == 1);
  ask(SUBSCRIBE, reader.id, -1, -1, "");
  CHECK(result(&reader) == 1);
  ask(SUBSCRIBE, writer.id, 0, -1, "");
  CHECK(result(&writer) == 0);
  ask(MY_TOPICS, reader.id, 0, 0, "");
  line(&reader, "0. pogoda");
  line(&reader, "1. sport");
  line(&reader, "");

  /* Publishing: to subscribers, not to the sender, as often as subscribed. */
  publish(&writer, 0, 3, "słońce");
  message(&reader, TOPIC + 0, 3, "pogoda: słońce");
  publish(&writer, 0, 1, "deszcz");
  message(&reader, TOPIC + 0, 1, "pogoda: deszcz");
  message(&reader, ENDED, 0, "0. pogoda");
  publish(&writer, 0, 1, "śnieg");
  publish(&writer, 1, 5, "mecz");
  message(&reader, TOPIC + 1, 5, "sport: mecz");
  CHECK(nothing(reader.queue, TOPIC + 0));
  CHECK(nothing(writer.queue, TOPIC + 0));
  ask(PUBLISH, writer.id, 2, 3, "do nikogo");
  CHECK(result(&writer) == 1);
  ask(MY_TOPICS, reader.id, 0, 0, "");
  line(&reader, "1. sport");
  line(&reader, "");

  /* More than a queue holds: it waits, and what is more urgent comes first of it. */
  enum { MANY = 30, URGENT = 3 };
  char text[1000];
  memset(text, '-', sizeof text);
  text[sizeof text - 1] = 0;
  for (int i = 0; i < MANY + URGENT; i++) {
    text[0] = 'A' + i;
    publish(&writer, 1, i < MANY ? 5 : 1, text);
  }
  int got[MANY + URGENT], urgent_at = -1;
  for (int i = 0; i < MANY + URGENT; i++) {
    struct text_msg m = next(reader.queue, TOPIC + 1);
    CHECK(strncmp(m.text, "sport: ", 7) == 0 && strlen(m.text) == 7 + sizeof text - 1);
    got[i] = m.text[7] - 'A';
    CHECK(m.info == (got[i] < MANY ? 5 : 1));
    if (urgent_at == -1 && got[i] >= MANY)
      urgent_at = i;
  }
  CHECK(urgent_at != -1 && urgent_at < MANY);
  for (int i = 0, next_urgent = MANY, next_other = 0; i < MANY + URGENT; i++) {
    if (i >= urgent_at && i < urgent_at + URGENT)
      CHECK(got[i] == next_urgent++);
    else
      CHECK(got[i] == next_other++);
  }

  /* The end: the queues of all who logged in are removed, and the server's. */
  struct text_msg m;
  ask(SHUT_DOWN, writer.id, 0, 0, "");
  CHECK(msgrcv(reader.queue, &m, TEXT_SIZE, 0, 0) == -1 && (errno == EIDRM || errno == EINVAL));
  CHECK(msgrcv(writer.queue, &m, TEXT_SIZE, 0, 0) == -1 && (errno == EIDRM || errno == EINVAL));
  CHECK(nothing(stranger.queue, 0));
  return 0;
}
